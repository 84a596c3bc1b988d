"""Twenty rounds of the kill campaign, on one broker or on three; `make chaos` runs longer ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.chaos.campaign import CampaignSettings, run_campaign
from tests.chaos.faults import WEIGHTS, plan


@pytest.mark.long
@pytest.mark.timeout(150)
async def test_the_queue_keeps_its_word_while_its_processes_die(brokers: Literal[1, 3], tmp_path: Path) -> None:
    settings = CampaignSettings(rounds=20, brokers=brokers, seed=3, round_s=(0.8, 1.6))
    tally = await run_campaign(settings, tmp_path)
    report = "\n".join(tally.lines())
    assert not tally.violations, report
    assert tally.faults.total() >= 15, report
    assert tally.ends["COMPLETED"] >= 10, report


def test_a_seed_repeats_its_faults_and_a_long_campaign_has_every_kind() -> None:
    faults = plan(7, 200, (1.5, 2.5))
    assert faults == plan(7, 200, (1.5, 2.5))
    assert faults != plan(8, 200, (1.5, 2.5))
    assert {(fault.action, fault.role) for fault in faults} == set(WEIGHTS)
