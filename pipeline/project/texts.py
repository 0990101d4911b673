"""The small files of a new project."""

from __future__ import annotations

import json

GITIGNORE = """\
/out/
/dvc_plots/
/data/cache/
/.venv-nncase/
__pycache__/
"""

DVCIGNORE = """\
__pycache__
*.pyc
"""

DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
    autostage = false
"""


def params(python: str) -> str:
    """Return ``params.yaml`` without a recipe; ``python`` is the stages' interpreter as a shell would be given it."""
    return f"""\
# The recipes that `dvc repro` runs; `kpufit add RECIPE` appends one.
recipes:
# The interpreter of the stages, so that `dvc repro` works without an activated environment.
python: {json.dumps(python)}
"""


def readme(recipe: str) -> str:
    """Return what a reader of the folder must know; ``recipe`` is its first recipe."""
    return f"""\
# A kpufit project

```
kpufit plan {recipe}     # what would run and why, and the sizes predicted; runs nothing
kpufit run               # train … report, then the table; `dvc repro` does the same
```

| Path | Holds |
|---|---|
| `recipes/*.yaml` | what to compress, for which firmware; every key: `kpufit schema`. `kpufit add NAME` lists another |
| `params.yaml` | the recipes that are run, and the interpreter of the stages: adjust it on another machine |
| `configs/firmware/*.yaml` | what each firmware loads and leaves; another firmware is one file more |
| `data/manifests/*.json` | checksums of the images and the network, by which DVC sees that they changed |
| `locks/`, `dvc.yaml` | what of kpufit is installed; `kpufit run` keeps it up to date: an upgrade reruns what it must |
| `out/{recipe}/convert/network.kmodel` | the result, once accepted |
| `out/{recipe}/report.html` | the page about it |

Exit codes: 0 accepted, 1 rejected, 2 bad input or a failed tool. `kpufit doctor` says what is missing.
"""
