"""What operators say of fetching, as the environment has it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from files.fetch_guard import AllowedPlace, FetchSettings
from host.settings import SettingsError, read_settings


def test_the_public_internet_alone_is_fetched_from_unless_an_operator_says_otherwise() -> None:
    assert read_settings().fetching() == FetchSettings("public", (), total_s=30)


def test_allowed_places_reach_services_and_the_processes_that_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGREEL_FETCH_FROM", "allowed")
    monkeypatch.setenv("COGREEL_FETCH_ALLOW", "Pictures.internal, 10.20.0.0/16,[fd00::7]:8080,media:8443,")
    monkeypatch.setenv("COGREEL_FETCH_TIMEOUT_S", "5")
    settings = read_settings()
    assert settings.server().fetching == FetchSettings(
        "allowed",
        (
            AllowedPlace("pictures.internal"),
            AllowedPlace(ip_network("10.20.0.0/16")),
            AllowedPlace(ip_network("fd00::7/128"), 8080),
            AllowedPlace("media", 8443),
        ),
        total_s=5,
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings().fetching() == settings.fetching()


@pytest.mark.parametrize("places", ["*", "10.0.0.1/8", "http://pictures.internal/", "a,b c"])
def test_a_place_that_cannot_be_read_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch, places: str) -> None:
    monkeypatch.setenv("COGREEL_FETCH_ALLOW", places)
    with pytest.raises(SettingsError, match=r"COGREEL_FETCH_ALLOW: .* is no host name, address or network"):
        read_settings()
