"""Damage to ONNX files, seeded: to their bytes, and to the structure that the bytes hold.

``mutate`` is a pure function of its arguments, so that a number and a seed bring every damaged file back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Error, Message
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

NUMBERS = (
    *(0, -1, 1, 2, -2, 3, 5, 7, 255, 1000, 1 << 20),
    *(1 << 31, (1 << 31) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, -(1 << 63)),
)
FLOATS = (0.0, -1.0, 1.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"), float("-inf"), 0.5)
TEXTS = (
    *(b"", b"SAME_UPPER", b"SAME_LOWER", b"VALID", b"NOTSET"),
    *(b"linear", b"cubic", b"reflect", b"\xff\xfe", b"x" * 3000),
)
NAMES = ("", "x", "y", "a", "w", "/", "a\nb", "é", "x" * 3000, "../../secret", "\x00")
ODD: tuple[tuple[object, type], ...] = (
    *(([1, 3, 4, 4], np.int64), ([2, 3], np.int64), ([0, 0, -1], np.int64), (3, np.int64), (0, np.int64)),
    *(([], np.int64), ([], np.float32), (np.ones((1, 3, 4, 4)), np.float32), (np.ones((4, 3)), np.float32)),
    *((np.ones((2, 3, 3, 3)), np.float32), (1.5, np.float32), (0.0, np.float32), (True, np.bool_), ([1, 0], np.bool_)),
    *((np.ones((0, 3)), np.float32), ([1 << 40], np.int64), ([-1, 1 << 62], np.int64), ([[1, 2], [3, 4]], np.int32)),
    *((np.zeros((1, 3, 4, 4)), np.int8), (np.ones(3), np.uint8), (np.ones((3, 3)), np.float16), ("text", np.object_)),
)
"""Constants that layers read."""
OPERATORS = tuple(sorted({schema.name for schema in defs.get_all_schemas() if schema.domain == ""}))


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a damaged copy of the ONNX file ``data``."""
    if rng.random() < 0.15:
        return _bytes(data, rng)
    try:
        model = onnx.load_model_from_string(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            rng.choices(list(STRUCTURAL), list(STRUCTURAL.values()))[0](model, rng)
        out: bytes = model.SerializeToString()
    except (Error, ValueError, TypeError, SystemError):  # damage that the format itself cannot hold
        return _bytes(data, rng)
    return _bytes(out, rng) if rng.random() < 0.05 else out


def _bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut, delete, insert or move bytes; near names and numbers as often as in weights."""
    out = bytearray(data)
    kind = rng.randrange(5)
    at = rng.randrange(len(out))
    if kind == 0:
        for _ in range(rng.randint(1, 12)):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del out[at:]
    elif kind == 2:
        del out[at : at + rng.randint(1, 40)]
    elif kind == 3:
        out[at:at] = rng.randbytes(rng.randint(1, 40))
    else:
        source, size = rng.randrange(len(out)), rng.randint(1, 200)
        out[at : at + size] = out[source : source + size]
    return bytes(out)


def _node(model: ModelProto, rng: random.Random) -> NodeProto:
    return rng.choice(model.graph.node) if model.graph.node else model.graph.node.add(op_type="Relu")


def _values(model: ModelProto) -> list[str]:
    graph = model.graph
    made = [name for node in graph.node for name in node.output]
    return [*made, *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer), ""]


def attribute_value(model: ModelProto, rng: random.Random) -> None:
    """Zero, negative or huge numbers and odd words in an attribute, or more or fewer of them."""
    with_attributes = [node for node in model.graph.node if node.attribute]
    if not with_attributes:
        return
    attribute = rng.choice(rng.choice(with_attributes).attribute)
    kind = rng.randrange(8)
    if kind == 0:
        attribute.name = rng.choice((attribute.name + "_", "axis", "axes", "pads", "strides", "value", "to", ""))
    elif kind == 1:
        attribute.type = rng.randrange(16)  # type: ignore[assignment]
    elif attribute.ints and kind < 5:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
    elif attribute.ints:
        attribute.ints[:] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 2, 3, 4, 8, 500)))]
    elif attribute.HasField("s"):
        attribute.s = rng.choice(TEXTS)
    elif attribute.HasField("f"):
        attribute.f = rng.choice(FLOATS)
    elif attribute.HasField("t"):
        _damage_tensor(attribute.t, rng)
    else:
        attribute.i = rng.choice(NUMBERS)


def attribute_dropped(model: ModelProto, rng: random.Random) -> None:
    """An attribute missing, or there twice."""
    node = _node(model, rng)
    if node.attribute:
        if rng.random() < 0.6:
            del node.attribute[rng.randrange(len(node.attribute))]
        else:
            node.attribute.append(rng.choice(node.attribute))


def attribute_added(model: ModelProto, rng: random.Random) -> None:
    """One of the attributes that the operator has, of any value."""
    node = _node(model, rng)
    try:
        known = sorted(defs.get_schema(node.op_type).attributes)
    except defs.SchemaError:
        known = ["axis"]
    value = rng.choice(
        (rng.choice(NUMBERS), [rng.choice(NUMBERS) for _ in range(rng.randrange(1, 5))], rng.choice(FLOATS), b"linear")
    )
    node.attribute.append(helper.make_attribute(rng.choice(known or ["axis"]), value))


def other_operator(model: ModelProto, rng: random.Random) -> None:
    """Another operator with the same inputs, or of another domain."""
    node = _node(model, rng)
    if rng.random() < 0.85:
        node.op_type = rng.choice(OPERATORS)
        if rng.random() < 0.8:
            known = defs.get_schema(node.op_type).attributes
            for attribute in [attribute for attribute in node.attribute if attribute.name not in known]:
                node.attribute.remove(attribute)
    else:
        node.domain = rng.choice(("com.microsoft", "ai.onnx", "ai.onnx.ml", "local", "\x01"))


def operator_added(model: ModelProto, rng: random.Random) -> None:
    """A layer of any operator, as valid as its schema tells, on values of the network or on odd constants."""
    operator = rng.choice(OPERATORS)
    try:
        schema = defs.get_schema(operator, min(max(_opset(model), 1), defs.onnx_opset_version()))
    except defs.SchemaError:
        return
    graph = model.graph
    constants = [
        numpy_helper.from_array(np.asarray(value, kind), f"odd{len(graph.initializer)}_{number}")
        for number, (value, kind) in enumerate(rng.sample(ODD, 3))
    ]
    graph.initializer.extend(constants)
    weights = [tensor.name for tensor in graph.initializer]
    made = [name for node in graph.node for name in node.output if name] or ["x"]
    sources = (["x"], made, weights, [tensor.name for tensor in constants])
    count = rng.randint(schema.min_input, min(schema.max_input, schema.min_input + 3))
    inputs = [rng.choice(rng.choices(sources, (2, 2, 2, 5))[0]) for _ in range(count)]
    outputs = [f"added{len(graph.node)}_{n}" for n in range(max(1, min(schema.min_output, 3)))]
    node = helper.make_node(operator, inputs, outputs)
    for name, attribute in sorted(schema.attributes.items()):
        value = _of_type(attribute.type, rng)
        if value is not None and (attribute.required or rng.random() < 0.4):
            node.attribute.append(helper.make_attribute(name, value))
    graph.node.append(node)
    if graph.output:
        graph.output[0].name = outputs[0]


def _opset(model: ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain == ""), 13)


def _of_type(kind: defs.OpSchema.AttrType, rng: random.Random) -> object:
    numbers = (0, 1, 1, 1, 2, 3, -1, rng.choice(NUMBERS))
    match kind:
        case defs.OpSchema.AttrType.INT:
            return rng.choice(numbers)
        case defs.OpSchema.AttrType.INTS:
            return [rng.choice(numbers) for _ in range(rng.choice((1, 2, 2, 3, 4)))]
        case defs.OpSchema.AttrType.FLOAT:
            return rng.choice(FLOATS)
        case defs.OpSchema.AttrType.FLOATS:
            return [rng.choice(FLOATS) for _ in range(rng.randrange(1, 5))]
        case defs.OpSchema.AttrType.STRING:
            return rng.choice((*TEXTS, b"ij,jk->ik", b"...,i->i", b"ii", b"constant", b"CRD", b"forward"))
        case defs.OpSchema.AttrType.TENSOR:
            value, type_ = rng.choice(ODD)
            return numpy_helper.from_array(np.asarray(value, type_))
        case _:
            return None


def node_inputs(model: ModelProto, rng: random.Random) -> None:
    """Inputs dropped, swapped, emptied, added or read from elsewhere (also from later: a cycle)."""
    node = _node(model, rng)
    count = len(node.input)
    kind = rng.randrange(6)
    if kind == 0 and count:
        del node.input[rng.randrange(count)]
    elif kind == 1 and count > 1:
        names = list(node.input)
        rng.shuffle(names)
        node.input[:] = names
    elif kind == 2 and count:
        node.input[rng.randrange(count)] = ""
    elif kind == 3:
        node.input.extend(rng.choice(_values(model)) for _ in range(rng.choice((1, 2, 20))))
    elif kind == 4:
        del node.input[:]
    elif count:
        node.input[rng.randrange(count)] = rng.choice(_values(model))


def node_outputs(model: ModelProto, rng: random.Random) -> None:
    """Outputs without a name, with another's, one more, or none."""
    node = _node(model, rng)
    kind = rng.randrange(4)
    if kind == 0:
        del node.output[:]
    elif kind == 1:
        node.output.extend([rng.choice([*_values(model), "extra"])] * rng.choice((1, 1, 30)))
    elif node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice([*_values(model), *NAMES])


def node_order(model: ModelProto, rng: random.Random) -> None:
    """Layers missing, twice, or in another order."""
    nodes = list(model.graph.node)
    kind = rng.randrange(3)
    if kind == 0 and nodes:
        del nodes[rng.randrange(len(nodes))]
    elif kind == 1 and nodes:
        nodes.insert(rng.randrange(len(nodes)), rng.choice(nodes))
    else:
        rng.shuffle(nodes)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def node_name(model: ModelProto, rng: random.Random) -> None:
    """Layers without a name, or of equal names."""
    _node(model, rng).name = rng.choice((*NAMES, _node(model, rng).name))


def weight(model: ModelProto, rng: random.Random) -> None:
    """A weight whose dims or type lie, that is torn, missing, there twice, NaN, or of odd numbers."""
    weights = model.graph.initializer
    if not weights:
        return
    tensor = rng.choice(weights)
    kind = rng.randrange(8)
    if kind == 0:
        weights.remove(tensor)
    elif kind == 1:
        weights.append(tensor)
    elif kind == 2:
        tensor.name = rng.choice([*_values(model), *NAMES])
    else:
        _damage_tensor(tensor, rng)


def _damage_tensor(tensor: TensorProto, rng: random.Random) -> None:
    kind = rng.randrange(8)
    if kind == 0:
        tensor.dims[:] = [rng.choice(NUMBERS) for _ in range(rng.randrange(6))]
    elif kind == 1:
        tensor.data_type = rng.choice((*range(26), -1, 1 << 20))
    elif kind == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 3:
        tensor.dims[:] = [*tensor.dims, 1] if rng.random() < 0.5 else [*tensor.dims][::-1]
    elif kind == 4:
        tensor.data_location = TensorProto.EXTERNAL
        for key in rng.choices(("location", "offset", "length", "odd"), k=2):
            tensor.external_data.add(key=key, value=rng.choice(("../x", "x", "", "-1", str(1 << 40), "/dev/zero")))
    else:
        _damage_numbers(tensor, rng)


def _damage_numbers(tensor: TensorProto, rng: random.Random) -> None:
    try:
        values = numpy_helper.to_array(tensor).copy()
    except Exception:  # damaged already
        return
    if not values.size or values.dtype.kind not in "if":
        return
    for _ in range(rng.randint(1, 3)):
        chosen = rng.choice(FLOATS if values.dtype.kind == "f" else NUMBERS)
        with np.errstate(all="ignore"):
            values.flat[rng.randrange(values.size)] = np.asarray(chosen).astype(values.dtype)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def graph_input(model: ModelProto, rng: random.Random) -> None:
    """The image with another rank, size or type, a second one, or none."""
    inputs = model.graph.input
    kind = rng.randrange(7)
    if kind == 0 or not inputs:
        inputs.add(name=rng.choice(NAMES))
        return
    value = rng.choice(inputs)
    dims = value.type.tensor_type.shape.dim
    if kind == 1:
        inputs.remove(value)
    elif kind == 2:
        value.type.tensor_type.elem_type = rng.choice((*range(26), -1))
    elif kind == 3 and dims:
        del dims[rng.randrange(len(dims))]
    elif kind == 4:
        value.ClearField("type")
    elif kind == 5:
        dims.add(dim_value=rng.choice(NUMBERS))
    elif dims:
        rng.choice(dims).dim_value = rng.choice(NUMBERS)


def graph_output(model: ModelProto, rng: random.Random) -> None:
    """Outputs missing, of another name, shape or type, twice, or none."""
    outputs = model.graph.output
    kind = rng.randrange(5)
    if kind == 0 or not outputs:
        outputs.add(name=rng.choice([*_values(model), *NAMES]))
        return
    value = rng.choice(outputs)
    if kind == 1:
        outputs.remove(value)
    elif kind == 2:
        value.name = rng.choice([*_values(model), *NAMES])
    elif kind == 3:
        value.CopyFrom(helper.make_tensor_value_info(value.name, rng.randrange(1, 24), [rng.choice(NUMBERS)] * 4))
    else:
        outputs.append(value)


def versions(model: ModelProto, rng: random.Random) -> None:
    """Opsets that are missing, impossible, several or merely others; other IR versions."""
    kind = rng.randrange(5)
    if kind == 0:
        del model.opset_import[:]
    elif kind == 1:
        model.opset_import.add(domain=rng.choice(("", "ai.onnx", "com.microsoft")), version=rng.choice(NUMBERS))
    elif kind == 2:
        model.ir_version = rng.choice((*range(14), *NUMBERS))
    elif model.opset_import:
        model.opset_import[0].version = rng.choice((*range(-1, 26), *range(7, 19), rng.choice(NUMBERS)))


def many_layers(model: ModelProto, rng: random.Random) -> None:
    """Thousands of layers in a chain, or each of the one before twice."""
    name = base = rng.choice(_values(model))
    double = rng.random() < 0.5
    operator = rng.choice(("Add", "Mul", "Concat") if double else ("Relu", "Identity", "Neg", "Dropout"))
    for number in range(rng.choice((70, 70, 3000))):
        attributes = {"axis": 1} if operator == "Concat" else {}
        model.graph.node.append(helper.make_node(operator, [name] * (1 + double), [f"{base}_{number}"], **attributes))
        name = model.graph.node[-1].output[0]
    if model.graph.output and rng.random() < 0.7:
        model.graph.output[0].name = name


def bomb(model: ModelProto, rng: random.Random) -> None:
    """A constant far larger than the file, read by a layer."""
    sizes = rng.choice(
        ([1 << 40], [1 << 20, 1 << 20], [4096, 4096], [1 << 31, 2], [1 << 62, 1 << 62], [20000, 20000], [1 << 19])
    )
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.asarray(sizes, np.int64), "bomb.size"))
    graph.initializer.append(numpy_helper.from_array(np.float32([1.0]), "bomb.one"))
    graph.initializer.append(numpy_helper.from_array(np.float32([sizes[0]]), "bomb.scale"))
    operator = rng.choice(("ConstantOfShape", "Expand", "Tile", "Range", "Resize", "OneHot", "Pad", "EyeLike"))
    inputs = {
        "ConstantOfShape": ["bomb.size"],
        "Expand": ["bomb.one", "bomb.size"],
        "Tile": ["bomb.one", "bomb.size"],
        "Range": ["bomb.zero", "bomb.end", "bomb.step"],
        "Resize": ["bomb.one", "", "bomb.scale"],
        "OneHot": ["bomb.size", "bomb.end", "bomb.size"],
        "Pad": ["bomb.one", "bomb.size"],
        "EyeLike": ["bomb.size"],
    }[operator]
    for name, number in (("bomb.zero", 0), ("bomb.end", sizes[0]), ("bomb.step", 1)):
        graph.initializer.append(numpy_helper.from_array(np.asarray(number, np.int64), name))
    added = [helper.make_node(operator, inputs, ["bomb"]), helper.make_node("Add", ["bomb", "bomb"], ["boom"])]
    for number in range(rng.choice((0, 1, 30))):
        added.append(helper.make_node("MatMul", ["boom", "boom"], [f"boom{number}"]))
        added.append(helper.make_node("Concat", ["boom", f"boom{number}"], ["boom"], axis=0))
    nodes = [*added, *graph.node]
    if graph.node and graph.node[0].input and rng.random() < 0.5:
        graph.node[0].input[-1] = "boom"
        nodes = [*added, *graph.node]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def nesting(model: ModelProto, rng: random.Random) -> None:
    """Graphs in graphs, up to deeper than a parser goes, and functions that call themselves."""
    if rng.random() < 0.4:
        body = [helper.make_node("Again", ["i"], ["o"], domain="local")]
        imports = [helper.make_opsetid("", 13), helper.make_opsetid("local", 1)]
        model.functions.append(helper.make_function("local", "Again", ["i"], ["o"], body, imports))
        model.opset_import.append(helper.make_opsetid("local", 1))
        _node(model, rng).domain = "local"
        _node(model, rng).op_type = "Again"
        return
    inner = GraphProto(name="inner")
    inner.node.append(helper.make_node("Relu", [rng.choice(_values(model))], ["o"]))
    inner.output.append(helper.make_tensor_value_info("o", TensorProto.FLOAT, None))
    for depth in range(rng.choice((1, 2, 20, 45))):
        outer = GraphProto(name=f"outer{depth}")
        outer.node.append(
            helper.make_node("If", ["yes"], ["o"], then_branch=inner, else_branch=inner if depth < 3 else GraphProto())
        )
        outer.output.append(helper.make_tensor_value_info("o", TensorProto.FLOAT, None))
        inner = outer
    node = _node(model, rng)
    node.attribute.append(helper.make_attribute(rng.choice(("body", "then_branch", "value")), inner))


def shapes_that_lie(model: ModelProto, rng: random.Random) -> None:
    """Shapes of values inside, of which none is right."""
    for name in _values(model)[:-1]:
        if rng.random() < 0.3:
            shape = [rng.choice(NUMBERS) for _ in range(rng.randrange(6))]
            model.graph.value_info.append(helper.make_tensor_value_info(name, rng.randrange(1, 17), shape))


def any_field(model: ModelProto, rng: random.Random) -> None:
    """Any field of any part: cleared, or set to a value of its type."""
    part = rng.choice(list(_messages(model)))
    field = rng.choice(part.DESCRIPTOR.fields)
    if rng.random() < 0.3:
        part.ClearField(field.name)
        return
    repeated = field.label == FieldDescriptor.LABEL_REPEATED
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if repeated:
            getattr(part, field.name).add()
        else:
            getattr(part, field.name).SetInParent()
        return
    value = _scalar(field, rng)
    if repeated:
        getattr(part, field.name).append(value)
    else:
        setattr(part, field.name, value)


def _scalar(field: FieldDescriptor, rng: random.Random) -> int | float | str | bytes:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return rng.choice(TEXTS) if field.type == FieldDescriptor.TYPE_BYTES else rng.choice(NAMES)
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice(FLOATS)
        case FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice(field.enum_type.values).number  # type: ignore[no-any-return]
        case FieldDescriptor.CPPTYPE_INT64:
            return rng.choice(NUMBERS)
        case FieldDescriptor.CPPTYPE_UINT64:
            return abs(rng.choice(NUMBERS))
        case _:
            return rng.choice((0, 1, -1, 20, (1 << 31) - 1))


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for inner in value if field.label == FieldDescriptor.LABEL_REPEATED else [value]:
                yield from _messages(inner)


STRUCTURAL: dict[Callable[[ModelProto, random.Random], None], int] = {
    attribute_value: 20,
    attribute_added: 6,
    attribute_dropped: 4,
    other_operator: 10,
    operator_added: 30,
    node_inputs: 10,
    node_outputs: 6,
    node_order: 4,
    node_name: 2,
    weight: 12,
    graph_input: 6,
    graph_output: 4,
    versions: 8,
    many_layers: 2,
    bomb: 4,
    nesting: 3,
    shapes_that_lie: 3,
    any_field: 12,
}
"""Each kind of damage and how often it is done."""
