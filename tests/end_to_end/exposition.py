"""Reading what a process shows to Prometheus."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.deployment import fetch

_OWN = "cogreel_"


@dataclass(frozen=True)
class Family:
    """A metric as it is shown: its kind, what it says of itself, its labels, and the value of each series."""

    kind: str
    help: str
    labels: frozenset[str]
    series: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, **labels: str) -> float:
        """The sum of all series with these labels; of a histogram, how much was observed."""
        return sum(
            value
            for (name, own), value in self.series.items()
            if labels.items() <= dict(own).items() and not name.endswith(("_bucket", "_sum"))
        )


async def scrape(url: str) -> dict[str, Family]:
    """Our metrics at a URL, by the name under which they are queried."""
    text = (await asyncio.to_thread(fetch, url)).decode()
    found: dict[str, Family] = {}
    for metric in text_string_to_metric_families(text):
        if metric.name.startswith(_OWN):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            labels = frozenset(label for sample in metric.samples for label in sample.labels if label != "le")
            series = {(s.name, frozenset(s.labels.items())): s.value for s in metric.samples}
            found[name] = Family(metric.type, metric.documentation, labels, series)
    return found
