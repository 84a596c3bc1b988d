"""Settings from files, as Kubernetes mounts a Secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.settings import SettingsError, read_settings


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the kubelet makes it: each file a link into a folder that is swapped as a whole."""
    data = tmp_path / "..2026_11_27"
    data.mkdir()
    (tmp_path / "..data").symlink_to(data.name)
    for name, content in (("COGREEL_NATS_URL", "nats://cogreel:pw@nats:4222\n"), ("COGREEL_S3_SECRET_KEY", "hidden")):
        (data / name).write_text(content)
        (tmp_path / name).symlink_to(f"..data/{name}")
    for name in ("COGREEL_NATS_URL", "COGREEL_S3_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COGREEL_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_file_named_like_a_variable_sets_it_and_reaches_the_processes_that_are_started(mounted: Path) -> None:
    settings = read_settings()
    assert settings.nats_url.get_secret_value() == "nats://cogreel:pw@nats:4222"
    assert settings.environment()["COGREEL_S3_SECRET_KEY"] == "hidden"
    assert {"nats_url", "s3_secret_key"} <= settings.model_fields_set


def test_the_environment_goes_before_a_file(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGREEL_NATS_URL", "nats://other:4222")
    assert read_settings().nats_url.get_secret_value() == "nats://other:4222"


def test_a_folder_that_is_not_there_is_told_and_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGREEL_SECRETS_DIR", "/not/mounted")
    with pytest.raises(SettingsError, match="COGREEL_SECRETS_DIR: /not/mounted is no directory"):
        read_settings()
