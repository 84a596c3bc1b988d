"""What is done to the processes: which faults there are, in what order they come, and how they are carried out."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import psutil

from jobs.errors import BrokerUnavailableError
from jobs.failpoints import ATTEMPT_CLAIMED, ATTEMPT_FINISHED, ATTEMPT_UPLOADED, SUBMIT_PUBLISHED
from tests.chaos.history import Fault, History
from tests.chaos.installation import Installation, KeptProcess, Role

Action = Literal["kill", "pause", "restart", "failpoint"]

LOOK_EVERY_S = 0.05
BACK_WITHIN_S = 30.0
FAILPOINT_CHANCE = 0.3  # so that a process gets somewhere before it dies

WEIGHTS: dict[tuple[Action, Role], float] = {
    ("kill", "service"): 3,
    ("kill", "device"): 4,
    ("kill", "supervisor"): 2,
    ("kill", "broker"): 2,
    ("kill", "store"): 1.5,
    ("pause", "service"): 2,
    ("pause", "device"): 3,
    ("pause", "broker"): 1.5,
    ("restart", "service"): 2,
    ("restart", "device"): 1,
    ("restart", "supervisor"): 2,
    ("restart", "broker"): 1,
    ("failpoint", "service"): 1.5,
    ("failpoint", "supervisor"): 3,
}
"""How often each fault comes, relative to the others."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault to come.

    `index` says which process of the role, or with None the broker that leads. A pause is `lasting_s` long, and a
    failpoint is set for the next run of a process, which is begun by a kill. `round_s` is how long the round lasts.
    """

    action: Action
    role: Role
    index: int | None
    lasting_s: float
    failpoint: str
    round_s: float


def plan(seed: int, rounds: int, round_s: tuple[float, float]) -> list[PlannedFault]:
    """The faults of a campaign; the same seed gives the same ones."""
    dice = random.Random(seed)
    return [_planned(dice, round_s) for _ in range(rounds)]


def _planned(dice: random.Random, round_s: tuple[float, float]) -> PlannedFault:
    action, role = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    index = None if role == "broker" and dice.random() < 0.5 else dice.randrange(6)
    lasting_s = 1 + 14 * dice.random() ** 3  # 1 to 15 s, mostly short
    names = [SUBMIT_PUBLISHED] if role == "service" else [ATTEMPT_CLAIMED, ATTEMPT_UPLOADED, ATTEMPT_FINISHED]
    return PlannedFault(action, role, index, lasting_s, dice.choice(names), dice.uniform(*round_s))


class Saboteur:
    """Carries faults out on an installation, and notes them."""

    def __init__(self, installation: Installation, history: History) -> None:
        self._installation = installation
        self._history = history
        self._armed: dict[str, tuple[KeptProcess, Fault]] = {}

    async def strike(self, planned: PlannedFault) -> None:
        """Carry a fault out and wait until it is over. A process that is down already is left alone."""
        index = planned.index if planned.index is not None else await self._leader()
        target, look = self._installation.find(planned.role, index)
        process = look()
        if process is None:
            return
        at = time.time()
        try:
            match planned.action:
                case "pause":
                    process.suspend()
                    try:
                        await asyncio.sleep(planned.lasting_s)
                    finally:
                        process.resume()
                case "kill":
                    self._disarm(target)
                    process.kill()
                case "restart":
                    self._disarm(target)
                    process.resume()  # a process that is paused would not hear of it
                    process.terminate()
                case "failpoint":
                    self._arm(planned, index, target)
                    process.kill()
        except psutil.NoSuchProcess:
            pass  # another fault was faster
        if planned.action != "pause":
            await self._until_replaced(process, look)
        if planned.action != "failpoint":  # which is noted when it is over
            self._history.add(Fault(at, time.time(), planned.action, planned.role, target))

    async def heal(self) -> None:
        """Start what has failpoints without them. Pauses end by themselves, before this is called."""
        for target, (kept, _) in list(self._armed.items()):
            self._disarm(target)
            process = kept.process
            if process is not None:
                process.kill()

    async def _leader(self) -> int:
        try:
            return await self._installation.broker_leader()
        except BrokerUnavailableError:
            return 0

    def _arm(self, planned: PlannedFault, index: int, target: str) -> None:
        self._disarm(target)
        kept = self._installation.services if planned.role == "service" else self._installation.workers
        chosen = kept[index % len(kept)]
        chosen.failpoints = f"{planned.failpoint}={FAILPOINT_CHANCE}"
        now = time.time()
        self._armed[target] = chosen, Fault(now, now, f"failpoint {planned.failpoint}", planned.role, target)

    def _disarm(self, target: str) -> None:
        if target in self._armed:
            kept, fault = self._armed.pop(target)
            kept.failpoints = ""
            self._history.add(replace(fault, until=time.time()))

    async def _until_replaced(self, old: psutil.Process, look: Callable[[], psutil.Process | None]) -> None:
        for _ in range(int(BACK_WITHIN_S / LOOK_EVERY_S)):
            present = look()
            if present is not None and present != old:
                return
            await asyncio.sleep(LOOK_EVERY_S)
