"""The recipe: one YAML file that says which network to compress, for which firmware, and how.

Every section must be present; one that is not wanted is ``null`` (DVC tracks each section on its own, and a missing
one is an error to it). Sizes are bytes, images are channels, height, width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import RecipeError
from pipeline.files import yaml_problem

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A section of a recipe: no unknown keys, no silent conversions of type, not changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ZooModel(Section):
    """A network that kpufit trains from scratch, from ``pipeline/network/zoo``."""

    source: Literal["zoo"]
    name: str = Field(description="a file of pipeline/network/zoo")
    width: Positive = Field(32, description="how wide; each architecture says of which layer, the others follow")


class OnnxModel(Section):
    """A trained network in an ONNX file, logits out."""

    source: Literal["onnx"]
    path: str = Field(description="relative to the project's folder")


class TorchModel(Section):
    """A trained network that a Python function of the user builds (runs the user's code: needs ``--trust``)."""

    source: Literal["torch"]
    factory: str = Field(pattern=r"^[\w.]+:\w+$", description='"package.module:function", called without arguments')
    weights: str = Field(description="a state dict, .safetensors or .pt/.th (read with weights_only=True)")


class TfliteModel(Section):
    """A trained float network in a TFLite file."""

    source: Literal["tflite"]
    path: str = Field(description="relative to the project's folder")


class KerasModel(Section):
    """A trained network in a Keras .h5 or .keras file, without Lambda layers."""

    source: Literal["keras"]
    path: str = Field(description="relative to the project's folder")


Model = Annotated[ZooModel | OnnxModel | TorchModel | TfliteModel | KerasModel, Field(discriminator="source")]


class Data(Section):
    """The labelled images: where from, how large, how normalised, how split."""

    name: str = Field(description="fashion-mnist-mini, fashion-mnist, cifar-10, image-folder or npz")
    path: str | None = Field(None, description="for image-folder and npz: relative to the project's folder")
    image: tuple[Positive, Positive, Positive] = Field(description="channels, height, width given to the network")
    mean: list[float] = Field(description="of pixel / 255: one, or one a channel")
    std: list[Annotated[float, Field(gt=0)]] = Field(description="of pixel / 255: one, or one a channel")
    labels: list[str] = Field(min_length=2, description="names of the classes, in order")
    validation: Positive = Field(description="images held out of training for every decision")
    test: Positive | None = Field(None, description="images held out for evaluate, where the data has no test part")

    @model_validator(mode="before")
    @classmethod
    def _lists_to_tuples(cls, values: Any) -> Any:
        """YAML has no tuples: take a list of three for ``image``."""
        if isinstance(values, dict) and isinstance(values.get("image"), list):
            values = {**values, "image": tuple(values["image"])}
        return values

    @model_validator(mode="after")
    def _one_or_one_a_channel(self) -> Data:
        for name, given in (("mean", self.mean), ("std", self.std)):
            if len(given) not in (1, self.image[0]):
                raise ValueError(f"{name} has {len(given)} values; allowed are 1 or {self.image[0]} (one a channel)")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ from each other")
        return self

    @property
    def channel_mean(self) -> tuple[float, ...]:
        """The mean of ``pixel / 255``, one a channel."""
        return tuple(self.mean) if len(self.mean) > 1 else tuple(self.mean * self.image[0])

    @property
    def channel_std(self) -> tuple[float, ...]:
        """The standard deviation of ``pixel / 255``, one a channel."""
        return tuple(self.std) if len(self.std) > 1 else tuple(self.std * self.image[0])


class Target(Section):
    """What the kmodel must fit: a firmware, what else it runs, and where the model is loaded from."""

    firmware: str = Field(description="a file of configs/firmware")
    kmodel: Literal["auto", 3, 4, 5] = Field(
        "auto", description="version of the format; auto: the newest that the firmware loads"
    )
    load: Literal["sd", "flash", "flash-stream"] = Field(
        "sd", description="sd and flash load into memory (real time); flash-stream reads layer by layer (not real time)"
    )
    model_bytes: Positive | None = Field(None, description="a budget for the kmodel tighter than the firmware's")
    limit: Literal["documented", "measured"] = Field(
        "documented",
        description="documented: the smaller of the documented figure and the memory sum; or the sum alone",
    )
    camera: Literal["none", "qqvga", "qvga", "vga"] = "qvga"
    dual_buffer: bool = False
    lcd: bool = True
    gc_heap: Positive | None = Field(None, description="MicroPython's heap in bytes; null: the firmware's default")


class Finetune(Section):
    """Training after a change to the network."""

    epochs: Count
    lr: Annotated[float, Field(gt=0)] = 0.01
    distil: bool = Field(True, description="learn from the network before the change as well as from the labels")


class Train(Section):
    """Training from scratch (SGD, cosine schedule). Null for a network that is already trained."""

    epochs: Positive
    lr: Annotated[float, Field(gt=0)]
    batch: Positive
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    label_smoothing: Fraction = Field(0.0, description="share of each label spread over all classes")
    augment: list[Literal["flip", "shift", "erase"]] = ["flip", "shift"]


class Prune(Section):
    """Structured pruning, channel counts chosen group by group."""

    importance: Literal["group-taylor", "group-l2"] = "group-taylor"
    to_bytes: Positive | Literal["auto"] = Field(
        "auto", description="kmodel bytes to prune to, as predicted after replace; auto: the target's budget"
    )
    keep: dict[str, Positive] | None = Field(
        None, description="channels that each group keeps, as a search chose them; null: as few go as to_bytes asks for"
    )
    finetune: Finetune


class Replace(Section):
    """Replacement of what the KPU cannot run."""

    max_drop: Fraction = Field(
        description="validation accuracy that a replacement may cost, after distillation; where it costs more, "
        "the layer stays as it was, unless the target's kmodel (v3, v4) could not hold it"
    )
    regression_steps: Count = Field(300, description="steps of regression on the replaced layer's outputs, a layer")
    distil_steps: Count = Field(description="steps of distillation from the network before replacement")
    prefer: dict[str, str] = Field(
        {}, description="for a layer, the rule to take where several match; the others are not tried there"
    )
    activation: Literal["keep", "relu", "relu6", "leaky-relu"] = Field(
        "keep", description="what every ReLU, ReLU6 and LeakyReLU becomes before distillation"
    )


class Calibration(Section):
    """Images from which nncase takes the range of every activation; always training images."""

    images: Annotated[int, Field(ge=4)]


class QatFinetune(Section):
    """Quantisation-aware training."""

    epochs: Count
    lr: Annotated[float, Field(gt=0)] = 3e-4


class Quantise(Section):
    """Quantisation in the KPU's scheme: uint8 activations a tensor, uint8 weights an output channel."""

    method: Literal["auto", "ptq", "qat"] = Field("auto", description="auto: try both, keep the better on validation")
    calibration: Calibration
    finetune: QatFinetune | None = None

    @model_validator(mode="after")
    def _qat_needs_finetune(self) -> Quantise:
        if self.method == "qat" and self.finetune is None:
            raise ValueError("method qat needs finetune, e.g. {epochs: 1}")
        return self


class Gate(Section):
    """What is accepted."""

    max_drop: Fraction = Field(description="test accuracy that the kmodel may lose against the float network")
    min_accuracy: Fraction | None = Field(None, description="test accuracy that the kmodel must reach")


class Search(Section):
    """The Optuna study over pruning, replacement and quantisation."""

    trials: Positive = Field(description="candidates to evaluate fully; those rejected before do not count")
    objectives: list[Literal["accuracy", "kmodel_bytes", "latency", "heap_bytes"]] = Field(
        ["accuracy", "kmodel_bytes"],
        min_length=1,
        description="accuracy (on validation images) and costs",
    )
    min_accuracy: Fraction | None = Field(
        None, description="choose the smallest of this accuracy on validation images; null: the best under the budget"
    )
    rungs: Annotated[int, Field(ge=1, le=4)] = Field(
        2, description="levels of effort that a candidate rises through, each three times the one below"
    )
    effort: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="share of the recipe's own epochs and steps at the last rung; what is chosen gets them all",
    )
    storage: str = Field("sqlite", description="sqlite (a file under studies/), or the URL of a database to share")

    @model_validator(mode="after")
    def _accuracy_is_an_objective(self) -> Search:
        if "accuracy" not in self.objectives:
            raise ValueError("objectives must name accuracy; without it the smallest network is the best")
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError("objectives must differ from each other")
        return self


class Nightly(Section):
    """What ``kpufit nightly`` calls the same as before, and how long it waits; no stage reads it."""

    accuracy: Fraction | None = Field(
        None, description="test accuracy that may change; null: what the choice of test images and training make of it"
    )
    kmodel_bytes: Count | None = Field(0, description="bytes that the kmodel may change by; null: as for heap_bytes")
    heap_bytes: Count | None = Field(
        None, description="bytes that the memory beside it may change by; null: what training made of it so far"
    )
    latency_ms: Annotated[float, Field(ge=0)] | None = Field(
        None, description="milliseconds of the KPU that may change; null: as for heap_bytes"
    )
    max_minutes: Annotated[float, Field(gt=0)] | None = Field(
        None, description="time after which the recipe is stopped; null: the command's --max-minutes"
    )


class Recipe(Section):
    """One network to compress for one target."""

    seed: int
    model: Model
    data: Data
    target: Target
    train: Train | None
    prune: Prune | None
    replace: Replace
    quantise: Quantise
    gate: Gate
    search: Search | None
    nightly: Nightly | None = Field(None, description="may be left out, as no stage reads it")

    @model_validator(mode="after")
    def _zoo_needs_training(self) -> Recipe:
        if isinstance(self.model, ZooModel) and self.train is None:
            raise ValueError("train is null, but a zoo network has no weights yet: give train.epochs, lr and batch")
        return self


def recipe_path(root: Path, name: str) -> Path:
    """Return the file of a recipe given as a name (of ``recipes/``) or as a path.

    Raises:
        RecipeError: there is no such file.

    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = root / "recipes" / f"{name}.yaml"
    elif not path.is_absolute() and not path.exists():
        path = root / path
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (root / "recipes").glob("*.yaml"))) or "none"
        raise RecipeError("no such recipe", where=str(path), remedy=f"recipes here: {known}")
    return path


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe.

    Raises:
        RecipeError: names the file, the key and what is allowed.

    """
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise RecipeError(
            f"cannot be read ({error.strerror})", where=str(path), remedy="check who may read it"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"is not YAML ({yaml_problem(error)})", where=str(path), remedy="compare it with another of recipes/"
        ) from error
    if not isinstance(values, dict):
        raise RecipeError("is not a mapping of sections", where=str(path), remedy="see `kpufit schema`")
    return parse(Recipe, values, where=str(path))


def parse(section: type[S], values: dict[str, Any], *, where: str) -> S:
    """Validate the values of a recipe, or of one of its sections.

    Raises:
        RecipeError: names the key and what is allowed.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_explain(error), where=where, remedy="see `kpufit schema` for every key") from error


def _explain(error: ValidationError) -> str:
    """One line a finding: the key, what is wrong, what was given."""
    lines = []
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"]) or "recipe"
        given = (
            "" if finding["type"] in ("missing", "extra_forbidden", "value_error") else f", not {finding['input']!r}"
        )
        message = {
            "missing": "is missing (write null where a section is not wanted)",
            "extra_forbidden": f"is not a key of this section; allowed: {', '.join(_allowed(finding['loc']))}",
        }.get(finding["type"], finding["msg"].removeprefix("Value error, "))
        lines.append(f"{key}: {message}{given}")
    return lines[0] if len(lines) == 1 else "\n  " + "\n  ".join(lines)


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the section that holds ``location``; ``model``'s next part names the variant, by its ``source``."""
    section: type[BaseModel] = Recipe
    for part in location[:-1]:
        variants = _sections_of(section, str(part))
        if len(variants) == 1:
            section = variants[0]
        else:
            section = next((v for v in _sections_of(Recipe, "model") if part in _sources(v)), section)
    return sorted(section.model_fields)


def _sections_of(section: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """The sections that the value of ``key`` may be, unpacked from unions and annotations."""
    field = section.model_fields.get(key)
    pending: list[Any] = [field.annotation] if field else []
    found: list[type[BaseModel]] = []
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        pending.extend(get_args(annotation))
    return found


def _sources(variant: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(variant.model_fields["source"].annotation)
