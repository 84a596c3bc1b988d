"""`cogreeld webhook-keys`, and the settings of webhooks."""

from __future__ import annotations

import json

import pytest

from host.settings import SettingsError, read_settings
from jobs.webhook_keys import ensure_keyring, read_keyring
from service.webhooks import WebhookSettings
from tests.deployment import Deployment
from tests.host.test_operator_commands import cogreeld


async def test_keys_are_listed_and_rotated_without_their_private_halves(deployment: Deployment) -> None:
    await ensure_keyring(deployment.broker)
    [old] = json.loads((await cogreeld(deployment, "webhook-keys", "list", "--json")).out)
    assert old["public_key"].startswith("whpk_")
    rotated = await cogreeld(deployment, "webhook-keys", "rotate", "--sign-after", "2h", "--keep", "1d")
    new, before = rotated.out.splitlines()
    assert "  signs from " in new
    assert before.startswith(f"{old['key_id']}  {old['public_key']}  signs, valid until ")
    withdrawn = await cogreeld(deployment, "webhook-keys", "rotate", "--now")
    [only] = withdrawn.out.splitlines()
    assert only.endswith("  signs")
    assert only.partition(" ")[0] not in {new.partition(" ")[0], old["key_id"]}
    assert (await cogreeld(deployment, "webhook-keys", "list")).out == only
    [key] = (await read_keyring(deployment.broker)).keys
    assert key.private.hex() not in rotated.out + withdrawn.out


async def test_a_time_that_is_none_is_refused(deployment: Deployment) -> None:
    for given, said in (("soon", "is not a duration"), ("366d", "longer than 365d")):
        ended = await cogreeld(deployment, "webhook-keys", "rotate", "--keep", given)
        assert ended.code == 2
        assert said in ended.err


def test_pauses_between_tries_are_an_operators_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().server().webhooks == WebhookSettings()
    monkeypatch.setenv("COGREEL_WEBHOOK_RETRY_S", "0.5, 60")
    monkeypatch.setenv("COGREEL_WEBHOOK_TIMEOUT_S", "3")
    assert read_settings().server().webhooks == WebhookSettings(retry_after_s=(0.5, 60), timeout_s=3)
    monkeypatch.setenv("COGREEL_WEBHOOK_RETRY_S", "")
    assert read_settings().server().webhooks.retry_after_s == ()


@pytest.mark.parametrize("pauses", ["soon", "-1", "5,inf", "5;6"])
def test_pauses_that_cannot_be_read_are_named_at_the_start(monkeypatch: pytest.MonkeyPatch, pauses: str) -> None:
    monkeypatch.setenv("COGREEL_WEBHOOK_RETRY_S", pauses)
    with pytest.raises(SettingsError, match="COGREEL_WEBHOOK_RETRY_S"):
        read_settings()
