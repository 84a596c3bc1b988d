"""How processes log: structlog, as JSON in production and readable on a terminal, with bound context."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
import structlog.tracebacks

# Without the values of local variables: those hold prompts, keys and passwords.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure_logs(log_format: Literal["auto", "json", "text"], level: str) -> None:
    """Send structured logs to standard error, in JSON or as text; `auto` is text on a terminal."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_text:
        processors.append(
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        )
    else:
        processors += [_TRACEBACKS, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log to the standard module: what they warn of belongs on the same stream.
    logging.basicConfig(
        level=max(threshold, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
