"""``docs/cli.md``, from the commands themselves: ``python -m pipeline.cli.document`` writes the file."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from pipeline.cli import app
from pipeline.cli.help_text import EXAMPLES
from pipeline.files import write_text

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"


def cli_markdown() -> str:
    """Return every command with its arguments, options and examples, in the groups of the help."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    lines = [
        "# The command line",
        "",
        "Made from the commands in `pipeline/cli` by `python -m pipeline.cli.document`; do not edit.",
        "",
        *_prose(group.help or ""),
    ]
    commands = [command for command in group.commands.values() if isinstance(command, TyperCommand)]
    context = typer.Context(group, info_name="kpufit")
    for panel, members in groupby(commands, lambda command: command.rich_help_panel):
        lines += ["", f"## {panel}"]
        for command in members:
            lines += ["", *_command(command, typer.Context(command, info_name=command.name, parent=context))]
    return "\n".join(lines) + "\n"


def _command(command: TyperCommand, context: typer.Context) -> list[str]:
    usage = " ".join(["kpufit", command.name or "", *command.collect_usage_pieces(context)])
    records = [each.get_help_record(context) for each in command.params]
    rows = [f"- `{name}`: {text}" for name, text in filter(None, records)]
    return [f"### kpufit {command.name}", *_prose(command.help or ""), "", f"Usage: `{usage}`", "", *rows]


def _prose(text: str) -> list[str]:
    """The paragraphs of a help text, its examples as code."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        first, *rest = paragraph.splitlines()
        examples = ["```", *(line.strip() for line in rest), "```"] if first == EXAMPLES else [paragraph]
        lines += [*([""] if lines else []), *examples]
    return lines


if __name__ == "__main__":
    write_text(DOCUMENT, cli_markdown())
