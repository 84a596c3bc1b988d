"""Failpoints: places between two commits where a process can be made to die, to prove that nothing depends on it.

Off unless the environment says otherwise: `COGREEL_FAILPOINTS="attempt.uploaded=0.1,attempt.claimed=1"` gives each
named place a probability with which the process kills itself by SIGKILL when it gets there. For the kill campaign and
for those who want to see for themselves; never for production.
"""

from __future__ import annotations

import os
import random
import signal

SUBMIT_PUBLISHED = "submit.published"
"""The request is on disk, and its caller has not been told."""
ATTEMPT_CLAIMED = "attempt.claimed"
"""The attempt is recorded as running, and nothing has been done for it."""
ATTEMPT_UPLOADED = "attempt.uploaded"
"""The video is stored, and no record names it."""
ATTEMPT_FINISHED = "attempt.finished"
"""The terminal state is on disk, and the delivery has not been acknowledged."""

NAMES = frozenset({SUBMIT_PUBLISHED, ATTEMPT_CLAIMED, ATTEMPT_UPLOADED, ATTEMPT_FINISHED})


def parse(text: str) -> dict[str, float]:
    """The probability of each failpoint.

    Raises:
        ValueError: a name is unknown, or a probability is not one.
    """
    chances: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, chance = part.partition("=")
        if name not in NAMES or not 0 <= float(chance or 1) <= 1:
            raise ValueError(f"no failpoint {part!r}; there are {', '.join(sorted(NAMES))}, each =0..1")
        chances[name] = float(chance or 1)
    return chances


_chances = parse(os.environ.get("COGREEL_FAILPOINTS", ""))


def reach(name: str) -> None:
    """Die here, if the environment asks for it."""
    chance = _chances.get(name, 0.0)
    if chance and random.random() < chance:  # noqa: S311 - a dice, not a secret
        os.kill(os.getpid(), signal.SIGKILL)
