"""Running checks: all at once, each with a time limit of its own, none able to spoil the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from cogreel.cli.findings import Finding, problem

Findings = Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at. `name` stands for it where it cannot say anything itself."""

    name: str
    look: Callable[[], Awaitable[Findings]]
    timeout_s: float = 15.0


def in_thread(name: str, look: Callable[[], Findings], *, timeout_s: float = 15.0) -> Check:
    """A check that blocks: it reads files or waits for a library."""
    return Check(name, lambda: asyncio.to_thread(look), timeout_s)


async def run_checks(checks: Sequence[Check]) -> list[Finding]:
    """The findings of all checks, in the order of the checks."""
    found = await asyncio.gather(*map(_run, checks))
    return [finding for findings in found for finding in findings]


async def _run(check: Check) -> Findings:
    try:
        async with asyncio.timeout(check.timeout_s):
            return await check.look()
    except TimeoutError:
        return [
            problem(
                check.name,
                f"no result within {check.timeout_s:g} s",
                "Something that it waits for does not answer, neither yes nor no.",
                "Is the machine, the disk or the network overloaded? A firewall may drop packets.",
            )
        ]
    except Exception as error:  # noqa: BLE001 - one check's trouble must not hide what the others found
        return [
            problem(
                check.name,
                f"could not be checked: {type(error).__name__}: {error}",
                "What went wrong is not among the things that this check knows.",
                "Read the message; what it speaks of is likely to stop a process too.",
            )
        ]
