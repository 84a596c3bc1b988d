"""Where the times of a video come from: published ones by name, a file, or what `bench.gpu --json` measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.simulation.scenario import TIMES, ScenarioError, Times, explained

_REQUEST_ROW = re.compile(r"request, (\d+) steps")
_STAGE = re.compile(r"(\w+) ([\d.]+)")


def times_of(name: str) -> Times:
    """The times of this name, of a JSON file with the fields of `Times`, or of a JSON file of `bench.gpu`.

    Raises:
        ScenarioError: there are none of this name, or the file cannot be read.
    """
    if name in TIMES:
        return TIMES[name]
    path = Path(name)
    if not path.is_file():
        raise ScenarioError(f"times: must be one of {', '.join(TIMES)}, or a JSON file, not {name!r}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return measured(content) if "rows" in content else Times.model_validate(content)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{path}: is not JSON: {error}") from error
    except ValidationError as error:
        raise ScenarioError(f"{path}: {explained(error)}") from error


def measured(content: dict[str, Any]) -> Times:
    """The times of the whole request in what `bench.gpu` wrote; storing it was no part of that.

    Raises:
        ScenarioError: it has no row for a whole request.
    """
    for row in content["rows"]:
        found = _REQUEST_ROW.match(row["name"])
        if found and row["seconds"]:
            stages = {stage: float(seconds) for stage, seconds in _STAGE.findall(row["note"])}
            return Times(
                step_s=stages.get("denoise", 0.0) / int(found[1]),
                prepare_s=stages.get("prepare", 0.0),
                decode_s=stages.get("decode", 0.0),
                interpolate_s=stages.get("interpolate", 0.0),
                encode_s=stages.get("encode", 0.0),
                source=f"measured by bench.gpu on {content['facts'].get('device', 'a device')}",
            )
    raise ScenarioError("rows: has no whole request, which bench.gpu measures last")
