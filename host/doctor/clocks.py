"""Whether this machine's clock agrees with that of a server."""

from __future__ import annotations

from datetime import datetime

from cogreel.cli.findings import Finding, ok, problem, warning

TOLERATED_S = 5.0
SERIOUS_S = 60.0
_WHY = (
    "Lifetimes, start timeouts and the age of objects are reckoned by the clocks of several machines, and S3 refuses "
    "signatures that are 15 minutes off."
)
_REMEDY = "Let NTP or chrony keep the clocks of all machines (`timedatectl status`)."


def check_clock(check: str, whose: str, theirs: datetime, ours: datetime) -> Finding:
    """Compare two readings of the same moment."""
    ahead_s = (ours - theirs).total_seconds()
    if abs(ahead_s) <= TOLERATED_S:
        return ok(check, f"agrees with that of {whose}, within {TOLERATED_S:g} s")
    side = "ahead of" if ahead_s > 0 else "behind"
    found = f"the clock here is {abs(ahead_s):.0f} s {side} that of {whose}"
    return (problem if abs(ahead_s) > SERIOUS_S else warning)(check, found, _WHY, _REMEDY)
