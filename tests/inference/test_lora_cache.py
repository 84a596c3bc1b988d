"""LoRAs that are kept: by content, in the version that their source vouches for, within a bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.lora_cache import LoraCache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("red", "green", "blue"):
        (tmp_path / name).write_bytes(name.encode() * 10)  # of 30, 50 and 40 bytes
    return tmp_path


def taken(cache: LoraCache, source: str, etag: str, folder: Path) -> bytes | None:
    path = folder / "taken"
    path.unlink(missing_ok=True)
    return path.read_bytes() if cache.take(source, etag, path) else None


def test_a_version_that_is_kept_is_had_again_and_no_other(folder: Path) -> None:
    cache = LoraCache(100)
    cache.keep("hub", '"1"', folder / "red")
    assert cache.version("hub") == '"1"'
    assert taken(cache, "hub", '"1"', folder) == taken(cache, "hub", '"1"', folder) == b"red" * 10
    assert taken(cache, "hub", '"2"', folder) is None
    assert taken(cache, "elsewhere", '"1"', folder) is None
    cache.keep("hub", '"2"', folder / "blue")
    assert taken(cache, "hub", '"1"', folder) is None
    assert taken(cache, "hub", '"2"', folder) == b"blue" * 10


def test_the_same_content_from_two_sources_takes_its_room_once(folder: Path) -> None:
    cache = LoraCache(60)
    cache.keep("hub", '"1"', folder / "red")
    cache.keep("upload", '"a"', folder / "red")
    assert taken(cache, "hub", '"1"', folder) == taken(cache, "upload", '"a"', folder) == b"red" * 10


def test_what_was_not_used_for_longest_makes_room(folder: Path) -> None:
    cache = LoraCache(90)
    cache.keep("red", '"1"', folder / "red")
    cache.keep("blue", '"1"', folder / "blue")
    assert taken(cache, "red", '"1"', folder)
    cache.keep("green", '"1"', folder / "green")
    assert [cache.version(name) is not None for name in ("red", "green", "blue")] == [True, True, False]


def test_what_is_larger_than_all_that_may_be_displaces_nothing(folder: Path) -> None:
    cache = LoraCache(45)
    cache.keep("blue", '"1"', folder / "blue")
    cache.keep("green", '"1"', folder / "green")
    assert (cache.version("blue"), cache.version("green")) == ('"1"', None)


def test_nothing_of_it_lies_about(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = folder / "private"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))
    cache = LoraCache(100)
    cache.keep("hub", '"1"', folder / "red")
    assert taken(cache, "hub", '"1"', folder)
    assert not list(private.iterdir())
