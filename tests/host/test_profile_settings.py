"""How operators say what a worker may do to be faster."""

from __future__ import annotations

import pytest

from host.settings import SettingsError, read_settings
from inference.profiles import EXACT, Profile


def test_workers_are_exact_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().speed_profile() == EXACT
    monkeypatch.setenv("COGREEL_STEP_CACHE", "0.3")
    assert read_settings().speed_profile() == EXACT
    monkeypatch.setenv("COGREEL_COMPILE", "true")
    monkeypatch.setenv("COGREEL_ATTENTION", "cudnn")
    assert read_settings().speed_profile() == Profile(compiled=True, attention="cudnn")


def test_the_fast_profile_reaches_the_processes_that_a_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PROFILE": "fast", "STEP_CACHE": "0.2", "FLOAT8": "1", "COMPILE": "yes"}.items():
        monkeypatch.setenv(f"COGREEL_{name}", value)
    wanted = read_settings()
    assert wanted.speed_profile() == Profile(step_cache=0.2, float8=True, compiled=True)
    for name, value in wanted.environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings().speed_profile() == wanted.speed_profile()


def test_8_bit_floats_are_refused_where_exactness_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGREEL_FLOAT8", "true")
    with pytest.raises(SettingsError, match=r"COGREEL_FLOAT8: .*takes COGREEL_PROFILE=fast"):
        read_settings()
