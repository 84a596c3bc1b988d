"""Moments as people write them on a command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType):  # type: ignore[type-arg] # it takes one in newer versions of click only
    """`30m`, `2h`, `3d` ago, `today`, `yesterday`, or a date with or without a time. Without a zone, it is local."""

    name = "when"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, with its time zone."""
        if isinstance(value, datetime):
            return value
        now = datetime.now().astimezone()
        midnight = datetime.combine(now.date(), datetime.min.time())
        try:
            if ago := re.fullmatch(r"(\d+)([smhdw])", value):
                return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            match value.lower():
                case "now":
                    return now
                case "today":
                    return midnight.astimezone()
                case "yesterday":
                    return (midnight - timedelta(days=1)).astimezone()
                case _:
                    return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: write 30m, 2h or 3d (ago), today, yesterday, or such as 2026-01-31 or "
                "2026-01-31T14:30",
                param,
                ctx,
            )
