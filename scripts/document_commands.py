"""Write docs/commands.md from the two commands, or check that it is current.

    python -m scripts.document_commands           # write
    python -m scripts.document_commands --check   # exit 1 if the page is stale

What a command and its options do is said once, in their help. Every command that does something must have an example,
and every option a help text.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence

import click
from cogreel.cli import main as cogreel

from host.cli import main as cogreeld
from scripts.generated_page import ROOT, UndocumentedError, cell, notice, write_or_check

PAGE = ROOT / "docs/commands.md"
VERBATIM = "\b"
_EXAMPLE = ("Example:", "Examples:")
_INTRODUCTION = """\
`cogreel` is for callers and comes with the client, `cogreeld` is for operators and comes with the application. Each
explains itself with `--help`; this page says the same. What is set by the environment, is in
[Settings](4-running-it.md#settings); what an error means, in [Errors](errors.md)."""


def page() -> str:
    """The whole page.

    Raises:
        UndocumentedError: a command lacks help or an example, or an option lacks help.
    """
    lines = ["# Commands", "", notice("document_commands", "the help of the commands"), "", _INTRODUCTION, ""]
    for command, name in ((cogreel, "cogreel"), (cogreeld, "cogreeld")):
        lines += _described(command, click.Context(command, info_name=name), 2)
    return "\n".join(lines).rstrip() + "\n"


def _described(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    path = context.command_path
    if not command.help:
        raise UndocumentedError(f"`{path}` has no help")
    yield f"{'#' * level} {path}"
    yield ""
    prose, examples = _parted(inspect.cleandoc(command.help))
    if not examples and not isinstance(command, click.Group):
        raise UndocumentedError(f"the help of `{path}` has no example")
    yield from prose
    usage = [path, *command.collect_usage_pieces(context)]
    yield from _code([" ".join(usage)], "")
    if examples:
        yield from _code(examples, "sh")
    yield from _options(path, command)
    if command.epilog:
        yield from _parted(inspect.cleandoc(command.epilog))[0]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            if not child.hidden:
                yield from _described(child, click.Context(child, info_name=name, parent=context), min(level + 1, 4))


def _parted(text: str) -> tuple[list[str], list[str]]:
    """A help text as lines of Markdown, and the lines of its examples."""
    prose: list[str] = []
    examples: list[str] = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.strip("\n").splitlines()
        verbatim = bool(lines) and lines[0] == VERBATIM
        first, *rest = lines[1:] if verbatim else lines
        if first in _EXAMPLE:
            examples += [line.strip() for line in rest]
        elif first.startswith(_EXAMPLE[0]):
            examples.append(" ".join([first.removeprefix(_EXAMPLE[0]), *rest]).strip())
        elif verbatim:
            prose += [first, "", *_code([line.removeprefix("  ") for line in rest], "")]
        else:
            prose += [" ".join([first, *rest]), ""]
    return prose, examples


def _code(lines: Sequence[str], language: str) -> list[str]:
    return [f"```{language}", *lines, "```", ""]


def _options(path: str, command: click.Command) -> Iterator[str]:
    rows = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            if not parameter.help:
                raise UndocumentedError(f"`{path}`: the option {parameter.opts[0]} has no help")
            rows.append(_row(parameter))
    if rows:
        yield "| option | takes | default | meaning |"
        yield "|---|---|---|---|"
        yield from rows
        yield ""


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = option.to_info_dict()["default"]
    shown = f"`{default}`" if default not in (None, False, True, "") and not callable(default) else "–"
    required = "required. " if option.required else ""
    variable = f" Or by `{option.envvar}`." if isinstance(option.envvar, str) else ""
    return f"| {names} | {cell(_takes(option))} | {cell(shown)} | {cell(f'{required}{option.help}{variable}')} |"


def _takes(option: click.Option) -> str:
    if option.is_flag:
        return "–"
    if option.metavar:
        return option.metavar
    match option.type:
        case click.Choice(choices=choices):
            return ", ".join(f"`{choice}`" for choice in choices)
        case click.IntRange(min=least, max=most) | click.FloatRange(min=least, max=most):
            return f"{least} to {most}" if most is not None else f"{least} or more"
        case other:
            return {"integer": "whole number", "float": "number"}.get(other.name, other.name)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page, __doc__.splitlines()[0]))
