"""The command line: parse, call, print. One module a command; the work is in the packages, imported only when needed.

A new command is a module here and a line below, in the group of the help that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from pipeline.cli import (
    add,
    bundle,
    check,
    data,
    diff,
    doctor,
    firmware,
    gate,
    init,
    inspect,
    nightly,
    plan,
    replace,
    rules,
    run,
    schema,
    search,
    simulate,
    transcode,
)
from pipeline.cli.help_text import help_text

_PIPELINE = "The pipeline"
_FILES = "Look at a network or a kmodel"
_KNOWN = "Know the chip"

app = typer.Typer(
    name="kpufit",
    help=(
        "From a trained image network to the most accurate .kmodel that provably loads and runs on a Kendryte K210.\n\n"
        "Exit codes: 0 accepted or clean, 1 rejected or violations found, 2 bad input or a failed tool."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(panel: str, command: Callable[..., None]) -> None:
    app.command(rich_help_panel=panel, help=help_text(command))(command)


_add(_PIPELINE, doctor.doctor)
_add(_PIPELINE, init.init)
_add(_PIPELINE, add.add)
_add(_PIPELINE, plan.plan)
_add(_PIPELINE, data.data)
_add(_PIPELINE, run.run)
_add(_PIPELINE, run.summary)
_add(_PIPELINE, search.search)
_add(_PIPELINE, bundle.bundle)
_add(_PIPELINE, nightly.nightly)

_add(_FILES, check.check)
_add(_FILES, replace.replace)
_add(_FILES, inspect.inspect)
_add(_FILES, diff.diff)
_add(_FILES, gate.gate)
_add(_FILES, transcode.transcode)
_add(_FILES, simulate.simulate)

_add(_KNOWN, firmware.firmware)
_add(_KNOWN, rules.rules)
_add(_KNOWN, schema.schema)
