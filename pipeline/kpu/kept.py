"""Why replacement left a layer as it is: words that travel in the network's file, for whoever checks it later."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx

_KEY = "kpufit.kept"


def write_kept(model: onnx.ModelProto, reasons: Mapping[str, str]) -> None:
    """Set the reasons, by layer, in the metadata of ``model`` (in place); none leaves nothing there."""
    others = [entry for entry in model.metadata_props if entry.key != _KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    if reasons:
        model.metadata_props.add(key=_KEY, value=json.dumps(dict(reasons), ensure_ascii=False, sort_keys=True))


def read_kept(model: onnx.ModelProto) -> dict[str, str]:
    """Return the reasons in the metadata of ``model``, by layer; those that are no texts count for nothing."""
    for entry in model.metadata_props:
        if entry.key == _KEY:
            try:
                found = json.loads(entry.value)
            except ValueError:
                return {}
            if isinstance(found, dict):
                return {name: reason for name, reason in found.items() if isinstance(reason, str)}
    return {}
