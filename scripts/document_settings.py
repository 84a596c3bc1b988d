"""Write the table of settings in docs/4-running-it.md from the Settings class, or check that it is current.

    python scripts/document_settings.py           # write
    python scripts/document_settings.py --check   # exit 1 if the table is stale

Each field is documented once, by the docstring under it in `host/settings.py`. The table stands between two markers;
the rest of the page is written by hand.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from host.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs/4-running-it.md"
BEGIN = "<!-- settings: written by scripts/document_settings.py -->"
END = "<!-- end of settings -->"
NO_DEFAULT = "–"

_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


class UndocumentedError(Exception):
    """A field has no docstring."""


def docstrings(settings: type) -> dict[str, str]:
    """The docstring under each annotated field of a class, on one line."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(settings))).body[0]
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found


def takes(schema: Mapping[str, object]) -> str:
    """What a field takes, in words, from its JSON schema."""
    if isinstance(options := schema.get("enum"), list):
        return ", ".join(f"`{option}`" for option in options)
    if isinstance(alternatives := schema.get("anyOf"), list):  # a type or null: null is being left out
        return takes(next(option for option in alternatives if option.get("type") != "null"))
    if schema.get("type") == "object":
        return "JSON object"
    if schema.get("format") in {"path", "password"}:
        return {"path": "path", "password": "secret text"}[str(schema["format"])]
    least, most, above = (schema.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    words = _TYPES[str(schema["type"])]
    if above is not None:
        words += f", above {above}" if most is None else f", above {above}, up to {most}"
    if least is not None:
        words += f", {least} or more" if most is None else f", {least} to {most}"
    return words


def default_of(field: FieldInfo) -> str:
    """A field's default as it would be written into the environment."""
    if field.default_factory is not None:
        return f"`{field.default_factory.__name__}()`"
    value: object = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return NO_DEFAULT
    if isinstance(value, dict | bool):
        return f"`{json.dumps(value)}`"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


def table() -> str:
    """The table, a line a field, in the order of the class.

    Raises:
        UndocumentedError: a field has no docstring.
    """
    documented = docstrings(Settings)
    schemas: dict[str, dict[str, object]] = Settings.model_json_schema()["properties"]
    lines = ["| variable | takes | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name not in documented:
            raise UndocumentedError(f"Settings.{name} has no docstring")
        cells = (f"`COGREEL_{name.upper()}`", takes(schemas[name]), default_of(field), documented[name])
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def rewritten(page: str) -> str:
    """A page with the present table between the markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} needs the markers {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n{table()}\n{end}{after}"


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the table is stale")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    current = rewritten(page)
    if current == page:
        return 0
    print(f"{'stale' if check else 'written'}: {PAGE.relative_to(PAGE.parent.parent)}")
    if not check:
        PAGE.write_text(current, encoding="utf-8")
    return 1 if check else 0


if __name__ == "__main__":
    sys.exit(main())
