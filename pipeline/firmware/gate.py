"""The gate: whether a firmware can load and run a kmodel, every check reported, with remedies where one fails.

The board itself does not say: a v4 file that does not fit, or one of a wrong version, makes MaixPy's loader walk a null
table (measured on the released loader in an emulated K210).
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.firmware.memory import (
    STREAM_HEADER_BYTES,
    Memory,
    flash_space,
    loader_bytes,
    memory,
    needed_bytes,
    streamed_bytes,
)
from pipeline.firmware.profile import Profile
from pipeline.firmware.verdict import Accuracies, Check, KmodelFacts, Verdict
from pipeline.kpu import limits
from pipeline.recipe import Gate, Target

HEAVIEST = 5
"""How many layers are named as weighing most."""

MOST_MODELS = 5
"""Models that MaixPy and CanMV hold at once; a sixth gives error 2009 (MaixPy-v1, kpu.load)."""


def judge(
    facts: KmodelFacts,
    profile: Profile,
    target: Target,
    gate: Gate,
    accuracies: Accuracies | None = None,
    *,
    others: Sequence[Profile] = (),
) -> Verdict:
    """Return the verdict on a kmodel.

    Args:
        facts: what was read from the file.
        profile: the firmware it is for.
        target: what else that firmware runs, and where the model is loaded from.
        gate: how much accuracy may be lost.
        accuracies: of the float network and of the kmodel, on test images; None: not measured.
        others: every known firmware, to name those that would do.

    Raises:
        FirmwareError: the target asks for the measured sum alone, but the firmware was not measured.
    """
    budget = memory(profile, target)
    fits = _flash_stream if target.load == "flash-stream" else _memory
    return Verdict(
        profile.name,
        facts,
        (
            fits(facts, profile, target, budget, others),
            _version(facts, profile, others),
            _file_size(facts, profile, target),
            _model_bytes(facts, target),
            _kpu_memory(facts),
            _weight_loads(facts),
            _cpu_convolutions(facts),
            _output(facts, profile),
            _accuracy(gate, accuracies or Accuracies()),
        ),
    )


def judge_together(facts: Sequence[KmodelFacts], profile: Profile, target: Target) -> Check:
    """Return whether several kmodels fit in memory at once, so that switching needs no unloading.

    One after the other (load, run, unload) needs only that each fits by itself: ``judge``.
    """
    if target.load == "flash-stream":
        needed = sum(streamed_bytes(each.heap_bytes, _largest_body(each)) for each in facts)
    else:
        needed = sum(needed_bytes(profile, each.version, each.kmodel_bytes, each.heap_bytes) for each in facts)
    limit = memory(profile, target).limit
    figures = {"needed_bytes": needed, "limit_bytes": limit, "models": len(facts), "limit_models": MOST_MODELS}
    message = f"{len(facts)} models need {needed:,} of {limit:,} bytes"
    seen, remedies = [], []
    if needed > limit:
        seen.append(f"{message}, {needed - limit:,} over")
        remedies.append("load one at a time: unload (`kpu.deinit`) before the next is loaded")
    if profile.language == "micropython" and len(facts) > MOST_MODELS:
        seen.append(f"{len(facts)} models are over the {MOST_MODELS} that may be loaded at once (error 2009)")
        remedies.append(f"keep at most {MOST_MODELS} loaded")
    return Check("together", not seen, "; ".join(seen) or message, figures, (), tuple(remedies))


def _memory(facts: KmodelFacts, profile: Profile, target: Target, budget: Memory, others: Sequence[Profile]) -> Check:
    needed = needed_bytes(profile, facts.version, facts.kmodel_bytes, facts.heap_bytes)
    figures = {
        "needed_bytes": needed,
        "limit_bytes": budget.limit,
        "limit_by": budget.limit_by,
        "free_bytes": budget.free,
        "over_bytes": max(0, needed - budget.limit),
    }
    if needed <= budget.limit:
        return Check("memory", True, f"{needed:,} of {budget.limit:,} bytes", figures)
    room = budget.limit - (needed - facts.kmodel_bytes)
    remedies = [
        *_smaller_firmware(facts, profile, target, others),
        *_prune(facts, room),
        *_c_sdk(facts, profile, target, others),
    ]
    message = (
        f"needs {needed:,} bytes ({facts.kmodel_bytes:,} file, {facts.heap_bytes:,} main memory, "
        f"{loader_bytes(profile, facts.version):,} loader), {needed - budget.limit:,} over the {budget.limit:,} of "
        f"{profile.name}"
    )
    return Check("memory", False, message, figures, _heaviest(facts), tuple(remedies))


def _flash_stream(
    facts: KmodelFacts, profile: Profile, target: Target, budget: Memory, others: Sequence[Profile]
) -> Check:
    needed, space = streamed_bytes(facts.heap_bytes, _largest_body(facts)), flash_space(profile)
    figures = {
        "needed_bytes": needed,
        "limit_bytes": budget.limit,
        "limit_by": budget.limit_by,
        "free_bytes": budget.free,
        "over_bytes": max(0, needed - budget.limit),
        "flash_needed_bytes": facts.kmodel_bytes,
        "flash_limit_bytes": space,
        "header_bytes": facts.header_bytes,
    }
    seen, remedies = [], []
    if profile.interface != "maixpy":
        seen.append(f"{profile.name} cannot stream a model from flash: only MaixPy has kpu.load_flash")
        remedies.append("load it into memory (target.load: flash or sd)")
    if facts.kmodel_bytes > space:
        seen.append(f"the file's {facts.kmodel_bytes:,} bytes are over the {space:,} of flash for models")
        remedies += _prune(facts, space)
    if facts.header_bytes > STREAM_HEADER_BYTES:
        seen.append(f"the header's {facts.header_bytes:,} bytes are over the {STREAM_HEADER_BYTES:,} that are read")
        remedies.append("give the network fewer layers, or load it into memory (target.load: sd)")
    if facts.version == 5:
        seen.append("a kmodel v5 cannot be streamed from flash (MaixPy reports 2003 or 2015)")
        remedies.append("write it as v4 or v3 (`kpufit transcode FILE --to v4`)")
    if needed > budget.limit:
        seen.append(f"{needed:,} bytes of main memory while it runs are over the {budget.limit:,} of {profile.name}")
        remedies += _smaller_firmware(facts, profile, target, others)
        remedies.append("prune the largest layer, or replace what needs main memory")
    if seen:
        return Check("memory", False, "; ".join(seen), figures, _heaviest(facts), tuple(remedies))
    return Check("memory", True, f"streamed from flash: {needed:,} of {budget.limit:,} bytes of main memory", figures)


def _largest_body(facts: KmodelFacts) -> int:
    return facts.largest_body_bytes or max((layer.size for layer in facts.layers), default=0)


def _version(facts: KmodelFacts, profile: Profile, others: Sequence[Profile]) -> Check:
    loads = ", ".join(f"v{version}" for version in profile.versions)
    figures = {"version": facts.version, "loads": list(profile.versions)}
    if facts.version in profile.versions:
        return Check("kmodel version", True, f"kmodel v{facts.version}; {profile.name} loads {loads}", figures)
    able = [other.name for other in others if facts.version in other.versions]
    newest = max((v for v in profile.versions if v < facts.version), default=max(profile.versions))
    remedies = (
        f"choose a firmware that loads v{facts.version}: {', '.join(able)}"
        if able
        else f"choose a firmware that loads v{facts.version}",
        f"write the kmodel as v{newest} (`kpufit transcode FILE --to v{newest}`)",
    )
    message = f"kmodel v{facts.version}, but {profile.name} loads {loads}"
    return Check("kmodel version", False, message, figures, (), remedies)


def _file_size(facts: KmodelFacts, profile: Profile, target: Target) -> Check:
    largest = profile.largest_file_bytes.value
    figures = {"kmodel_bytes": facts.kmodel_bytes, "limit_bytes": largest}
    if target.load == "flash-stream":
        return Check("file size", True, "streamed from flash, where memory does not limit it", figures)
    if 0 < facts.kmodel_bytes <= largest:
        return Check("file size", True, f"{facts.kmodel_bytes:,} of at most {largest:,} bytes", figures)
    message = f"{profile.name} refuses a file of {facts.kmodel_bytes:,} bytes; allowed are 1 to {largest:,}"
    return Check("file size", False, message, figures, _heaviest(facts), tuple(_prune(facts, largest)))


def _model_bytes(facts: KmodelFacts, target: Target) -> Check:
    budget = target.model_bytes
    figures = {"kmodel_bytes": facts.kmodel_bytes, "limit_bytes": budget}
    if budget is None:
        return Check("model bytes", True, "no budget in the recipe", figures)
    if facts.kmodel_bytes <= budget:
        return Check("model bytes", True, f"{facts.kmodel_bytes:,} of {budget:,} bytes", figures)
    over = facts.kmodel_bytes - budget
    message = f"{facts.kmodel_bytes:,} bytes are {over:,} over the recipe's budget of {budget:,}"
    remedies = (
        f"raise target.model_bytes to {facts.kmodel_bytes} where the firmware's memory allows it",
        *_prune(facts, budget, already_set=True),
    )
    return Check("model bytes", False, message, figures, _heaviest(facts), remedies)


def _kpu_memory(facts: KmodelFacts) -> Check:
    figures = {"kpu_bytes": facts.kpu_bytes, "limit_bytes": limits.KPU_MEMORY_BYTES}
    if facts.kpu_bytes <= limits.KPU_MEMORY_BYTES:
        return Check("kpu memory", True, f"{facts.kpu_bytes:,} of {limits.KPU_MEMORY_BYTES:,} bytes", figures)
    over = facts.kpu_bytes - limits.KPU_MEMORY_BYTES
    message = f"feature maps need {facts.kpu_bytes:,} bytes of the KPU's memory, {over:,} over its 2 MiB"
    remedies = (
        "give smaller images, or a stride of 2 in the first layer",
        "prune the layers with the largest maps (`kpufit check` lists them)",
    )
    return Check("kpu memory", False, message, figures, (), remedies)


def _weight_loads(facts: KmodelFacts) -> Check:
    over = [layer for layer in facts.layers if layer.weight_loads > limits.MAX_WEIGHT_LOADS]
    most = max((layer.weight_loads for layer in facts.layers), default=0)
    figures = {"most_loads": most, "limit_loads": limits.MAX_WEIGHT_LOADS}
    if not over:
        return Check("weight loads", True, f"at most {most} of {limits.MAX_WEIGHT_LOADS}", figures)
    worst = max(over, key=lambda layer: layer.weight_loads)
    message = (
        f"{worst.name} loads its weights {worst.weight_loads} times; the KPU's register holds "
        f"{limits.MAX_WEIGHT_LOADS}, and nncase writes a wrong number without a word"
    )
    remedies = ("prune the output channels of the layers named here, or split each into two layers",)
    by = tuple({"layer": layer.name, "bytes": layer.size, "loads": layer.weight_loads} for layer in over)
    return Check("weight loads", False, message, figures, by, remedies)


def _cpu_convolutions(facts: KmodelFacts) -> Check:
    found = facts.cpu_convolutions
    figures = {"cpu_convolutions": len(found)}
    if not found:
        return Check("cpu convolutions", True, "every convolution runs on the KPU", figures)
    message = f"{len(found)} run in float on the CPU: {', '.join(found[:HEAVIEST])}"
    remedies = ("replace their kernels by what the KPU runs (`kpufit check` names the replacement of each)",)
    sizes = {layer.name: layer.size for layer in facts.layers}
    by = tuple({"layer": name, "bytes": sizes.get(name, 0)} for name in found)
    return Check("cpu convolutions", False, message, figures, by, remedies)


def _output(facts: KmodelFacts, profile: Profile) -> Check:
    """MaixPy reads a v4 model's outputs as float: ``kpu.set_outputs`` demands 4 bytes a value (error 2012)."""
    figures = {"output": facts.output}
    if profile.language != "micropython" or facts.version != 4 or facts.output != "uint8":
        return Check("output type", True, facts.output, figures)
    message = f"a v4 kmodel with a uint8 output cannot be read from {profile.name}, which takes floats (error 2012)"
    return Check("output type", False, message, figures, (), ("convert with a float output",))


def _accuracy(gate: Gate, accuracies: Accuracies) -> Check:
    network, kmodel = accuracies.network, accuracies.kmodel
    figures = {
        "float": network,
        "kmodel": kmodel,
        "max_drop": gate.max_drop,
        "min_accuracy": gate.min_accuracy,
    }
    if kmodel is None:
        return Check("accuracy", True, "not measured", figures)
    seen, remedies = [], []
    if network is not None and network - kmodel > gate.max_drop + 1e-9:
        drop = network - kmodel
        seen.append(
            f"{kmodel:.2%} is {drop * 100:.2f} points below the float {network:.2%}; {gate.max_drop:.2%} allowed"
        )
        remedies += [
            "give quantise more calibration images, or quantise.method: qat with more epochs",
            "prune less (a larger target.model_bytes), or fine-tune longer (prune.finetune.epochs)",
        ]
    if gate.min_accuracy is not None and kmodel < gate.min_accuracy:
        seen.append(f"{kmodel:.2%} is below the {gate.min_accuracy:.2%} that the recipe asks for")
        remedies.append("train longer or a wider network")
    if seen:
        return Check("accuracy", False, "; ".join(seen), figures, (), tuple(remedies))
    return Check("accuracy", True, f"{kmodel:.2%}", figures)


def _smaller_firmware(facts: KmodelFacts, profile: Profile, target: Target, others: Sequence[Profile]) -> list[str]:
    names = _fitting(facts, profile, target, others, "micropython")
    return [f"use a smaller firmware, which leaves more memory: {', '.join(names)}"] if names else []


def _c_sdk(facts: KmodelFacts, profile: Profile, target: Target, others: Sequence[Profile]) -> list[str]:
    names = _fitting(facts, profile, target, others, "c")
    return [f"write the application in C with the standalone SDK: {', '.join(names)}"] if names else []


def _fitting(
    facts: KmodelFacts, profile: Profile, target: Target, others: Sequence[Profile], language: str
) -> list[str]:
    """Return the firmwares of a language that would hold the kmodel as it is, the tightest first."""
    fitting = []
    for other in others:
        if other.name == profile.name or other.language != language or facts.version not in other.versions:
            continue
        if target.limit == "measured" and not other.is_measured:
            continue
        limit = memory(other, target).limit
        if needed_bytes(other, facts.version, facts.kmodel_bytes, facts.heap_bytes) <= limit:
            fitting.append((limit, other.name))
    return [name for _, name in sorted(fitting)]


def _prune(facts: KmodelFacts, room: int, *, already_set: bool = False) -> list[str]:
    """Say to how many bytes the kmodel must be pruned for ``room`` bytes of file."""
    if room <= 0:
        return [
            f"main memory alone ({facts.heap_bytes:,} bytes) leaves no room for a file: replace what runs on the CPU "
            "(`kpufit check` names it), or give smaller images"
        ]
    ratio = room / facts.kmodel_bytes
    how = "prune.to_bytes: auto" if already_set else f"target.model_bytes: {room}"
    return [f"prune harder: to {room:,} bytes, {ratio:.0%} of the present file ({how})"]


def _heaviest(facts: KmodelFacts) -> tuple[dict[str, object], ...]:
    heaviest = sorted(facts.layers, key=lambda layer: -layer.size)[:HEAVIEST]
    return tuple({"layer": layer.name, "bytes": layer.size} for layer in heaviest)
