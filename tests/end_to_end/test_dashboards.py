"""The dashboard and the alerts: what they ask Prometheus is there in a real run, and each alert is explained."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.deployment import fetch
from tests.end_to_end.exposition import Family, scrape
from tests.end_to_end.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
RULES = yaml.safe_load((ROOT / "deploy/dashboards/alerts.yaml").read_text(encoding="utf-8"))["spec"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
DASHBOARD = json.loads((ROOT / "deploy/dashboards/cogreel.json").read_text(encoding="utf-8"))
RUNBOOK = (ROOT / "docs/10-runbook.md").read_text(encoding="utf-8")
OF_PROMETHEUS = {"pod", "namespace", "le"}
"""Labels that the scrape adds, and those of a histogram's buckets."""


def dashboard_queries() -> Iterator[str]:
    """The queries of all panels, with Grafana's variables filled in."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "1m").replace("$endpoint", "fal-ai/cogvideox-5b")


QUERIES = [*dashboard_queries(), *(rule["expr"] for rule in ALERTS.values())]


def parts(expression: Any) -> Iterator[Any]:
    """An expression and all that it is made of."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (part := getattr(expression, name, None)) is not None:
            yield from parts(part)
    for part in getattr(expression, "args", ()) or ():
        yield from parts(part)


def selectors(query: str) -> dict[str, set[str]]:
    """The series that a query reads: by name, the labels that it asks them for."""
    found: dict[str, set[str]] = {}
    grouped: set[str] = set()
    for part in parts(promql_parser.parse(query)):
        if isinstance(part, promql_parser.VectorSelector):
            assert part.name, f"a selector without a name: {query}"
            found.setdefault(part.name, set()).update(matcher.name for matcher in part.matchers.matchers)
        elif isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            grouped.update(part.modifier.labels)
    for labels in found.values():
        labels.update(grouped)
    return found


async def shown(tree: Tree) -> dict[str, Family]:
    """All that service, workers and gateway show, by the names under which it is queried."""
    caller = await tree.caller()
    await caller.ended((await caller.submit()).request_id)
    await asyncio.to_thread(fetch, f"{tree.ready['http']}/health")
    families: dict[str, Family] = {}
    for url in tree.ready["metrics"].values():
        for name, family in (await scrape(url)).items():
            suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
            families |= {f"{name}{suffix}": family for suffix in suffixes}
    return families


def test_there_are_alerts_and_queries() -> None:
    assert len(ALERTS) >= 10
    assert len(QUERIES) >= 40


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_can_be_parsed_and_reads_something(query: str) -> None:
    assert selectors(query)


async def test_every_metric_and_label_of_dashboard_and_alerts_is_there_in_a_run(watched_tree: Tree) -> None:
    families = await shown(watched_tree)
    missing = set()
    for query in QUERIES:
        for name, labels in selectors(query).items():
            if name.startswith("process_"):
                continue  # of the client library
            if name not in families:
                missing.add(name)
            elif unknown := labels - families[name].labels - OF_PROMETHEUS:
                missing.add(f"{name}: {sorted(unknown)}")
    assert not missing


async def test_every_metric_of_ours_is_on_the_dashboard(watched_tree: Tree) -> None:
    families = await shown(watched_tree)
    named = {name for query in dashboard_queries() for name in selectors(query)}
    bare = re.compile("_(bucket|sum|count)$")
    own = {bare.sub("", name) if family.kind == "histogram" else name for name, family in families.items()}
    assert own <= {bare.sub("", name) for name in named} | named


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_is_wrong_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/10-runbook.md#{alert.lower()}"


def test_the_runbook_has_an_entry_for_each_alert_and_no_other() -> None:
    assert re.findall(r"^## (CogReel\w+)$", RUNBOOK, re.MULTILINE) == list(ALERTS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(RULES), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", rules], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
