"""The command line: parse, call, print. One module a command; the work is in the packages, imported only when needed.

A new command is a module here and a line below, in the group of the help that it belongs to.
"""

from __future__ import annotations

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

app.command(rich_help_panel=_PIPELINE)(doctor.doctor)
app.command(rich_help_panel=_PIPELINE)(init.init)
app.command(rich_help_panel=_PIPELINE)(add.add)
app.command(rich_help_panel=_PIPELINE)(plan.plan)
app.command(rich_help_panel=_PIPELINE)(data.data)
app.command(rich_help_panel=_PIPELINE)(run.run)
app.command(rich_help_panel=_PIPELINE)(run.summary)
app.command(rich_help_panel=_PIPELINE)(search.search)
app.command(rich_help_panel=_PIPELINE)(bundle.bundle)
app.command(rich_help_panel=_PIPELINE)(nightly.nightly)

app.command(rich_help_panel=_FILES)(check.check)
app.command(rich_help_panel=_FILES)(replace.replace)
app.command(rich_help_panel=_FILES)(inspect.inspect)
app.command(rich_help_panel=_FILES)(diff.diff)
app.command(rich_help_panel=_FILES)(gate.gate)
app.command(rich_help_panel=_FILES)(transcode.transcode)
app.command(rich_help_panel=_FILES)(simulate.simulate)

app.command(rich_help_panel=_KNOWN)(firmware.firmware)
app.command(rich_help_panel=_KNOWN)(rules.rules)
app.command(rich_help_panel=_KNOWN)(schema.schema)
