"""What Prometheus scrapes of a running tree, and that the document says the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from cogreel.v1.queue_pb2 import RequestState

from host.metrics import Address, MetricsAddressError
from tests.deployment import eventually, fetch
from tests.end_to_end.exposition import Family, scrape
from tests.end_to_end.tree import Tree

PAGE = Path(__file__).resolve().parents[2] / "docs/8-watching-it.md"
ROW = re.compile(r"^\| `(cogreel_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| (.*) \|$", re.MULTILINE)


def rows(shown: dict[str, dict[str, Family]]) -> set[tuple[str, ...]]:
    """The rows of the table that describe what processes show."""
    found: set[tuple[str, ...]] = set()
    for name in {name for families in shown.values() for name in families}:
        processes = [process for process, families in shown.items() if name in families]
        family = shown[processes[0]][name]
        labels = ", ".join(f"`{label}`" for label in sorted(family.labels))
        found.add((name, family.kind, labels, ", ".join(processes), family.help))
    return found


def completed(seen: Mapping[str, Family]) -> float:
    """How many attempts the workers have completed; a scrape before the first names none."""
    attempts = seen.get("cogreel_attempts_total")
    return attempts.value(outcome="completed") if attempts else 0.0


async def test_a_worker_that_dies_takes_nothing_back_that_it_counted(watched_tree: Tree) -> None:
    url = watched_tree.ready["metrics"]["workers"]
    caller = await watched_tree.caller()
    first = await scrape(url)
    await caller.ended((await caller.submit(steps=4)).request_id)
    # A worker counts what it has completed just after everybody can see it.
    before = await eventually(lambda: scrape(url), lambda seen: completed(seen) > completed(first))
    running = await caller.submit(steps=50)

    async def steps() -> float:
        return (await scrape(url))["cogreel_denoising_steps_total"].value(worker="worker-0")

    await eventually(steps, lambda count: count > before["cogreel_denoising_steps_total"].value(worker="worker-0"))
    await watched_tree.kill("worker-0")
    assert await caller.ended(running.request_id) == RequestState.REQUEST_STATE_COMPLETED
    after = await eventually(lambda: scrape(url), lambda seen: completed(seen) > completed(before))

    def grew(name: str, **labels: str) -> float:
        return after[name].value(**labels) - before[name].value(**labels)

    assert grew("cogreel_worker_restarts_total", worker="worker-0", device="simulated") == 1
    assert grew("cogreel_attempts_total", outcome="lost") == 1
    assert grew("cogreel_failures_total", reason="lease_lost") == 1
    assert grew("cogreel_attempts_total", outcome="completed") == 1
    assert grew("cogreel_stage_seconds", stage="denoise") == 1
    assert grew("cogreel_denoising_steps_total") > 50
    fallen = [
        series
        for name, family in before.items()
        if family.kind in {"counter", "histogram"}
        for series, value in family.series.items()
        if after[name].series[series] < value
    ]
    assert not fallen


async def test_the_table_of_the_document_is_what_is_shown(watched_tree: Tree) -> None:
    caller = await watched_tree.caller()
    await caller.ended((await caller.submit()).request_id)
    await asyncio.to_thread(fetch, f"{watched_tree.ready['http']}/health")
    shown = {process: await scrape(url) for process, url in watched_tree.ready["metrics"].items()}
    assert rows(shown) == set(ROW.findall(PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("text", ["9464", "host:", "host:port", ":9464", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MetricsAddressError, match=r"COGREEL_METRICS_LISTEN must be host:port, such as 127\.0\.0\.1"):
        Address.parse(text)


def test_no_address_means_nowhere() -> None:
    assert Address.parse("") is None
    assert str(Address.parse("[::1]:9464")) == "[::1]:9464"
