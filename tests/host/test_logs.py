"""The form of the log: one JSON object a line, whoever speaks, and no values of variables in tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from host.logs import configure_logs
configure_logs({form!r}, "info")
log = structlog.get_logger()
structlog.contextvars.bind_contextvars(request_id="r1")
log.info("ours", number=1)
log.debug("unheard")
logging.getLogger("urllib3.connectionpool").warning("of a %s", "library")
logging.getLogger("urllib3.connectionpool").info("unheard")
def connect(password):
    raise ValueError("refused")
try:
    connect("hunter2" + "hunter3")
except ValueError as error:
    log.error("fault", exc_info=error)
    logging.getLogger("asyncio").error("fault of a library", exc_info=error)
"""


def written(form: str) -> str:
    """What a program writes that logs in a form."""
    command = (sys.executable, "-c", PROGRAM.format(form=form))
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stderr


def test_json_is_one_object_a_line_of_libraries_too() -> None:
    text = written("json")
    ours, library, fault, library_fault = map(json.loads, text.splitlines())
    assert (ours["event"], ours["number"], ours["level"], ours["request_id"]) == ("ours", 1, "info", "r1")
    assert (library["event"], library["logger"]) == ("of a library", "urllib3.connectionpool")
    assert (library["level"], library["request_id"]) == ("warning", "r1")
    assert fault["exception"][0]["exc_value"] == library_fault["exception"][0]["exc_value"] == "refused"
    assert "hunter2hunter3" not in text


def test_text_is_readable_and_as_discreet() -> None:
    text = written("text")
    assert "ours" in text
    assert "of a library" in text
    assert "ValueError: refused" in text
    assert "hunter2hunter3" not in text
    assert "unheard" not in text
