"""Webhooks and the death of the service that delivers them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.deployment import eventually
from tests.end_to_end.tree import Tree
from tests.hostile_server import answer, silent
from tests.webhook_receiver import Receiver


@pytest.mark.long  # what a dead replica was handed comes again after its ack wait, 30 s
@pytest.mark.timeout(120)
async def test_a_webhook_whose_service_is_killed_in_the_middle_comes_again_with_the_same_id(tmp_path: Path) -> None:
    environment = {"COGREEL_FETCH_ALLOW": "127.0.0.1", "COGREEL_WEBHOOK_TIMEOUT_S": "60"}
    async with Receiver() as receiver, Tree(tmp_path, devices="simulated", environment=environment) as tree:
        receiver.server.answers["/hook"] = silent
        caller = await tree.caller()
        request_id = (await caller.submit(webhook_url=receiver.url)).request_id
        await receiver.got(1)
        await tree.kill("service")
        receiver.server.answers["/hook"] = answer()
        await receiver.got(2, within_s=60)
        told = await eventually(
            partial((await tree.caller()).status, request_id), lambda seen: seen.status.webhook.delivered
        )
        assert told.status.webhook.attempts == 1  # as far as anybody lives to tell
        assert receiver.headers(0)["webhook-id"] == receiver.headers(1)["webhook-id"]
