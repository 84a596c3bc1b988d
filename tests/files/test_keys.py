"""Keys keep tenants, requests and attempts apart."""

import itertools
import re

import pytest

from files import parse_upload_key, request_prefix, upload_key, upload_prefix, video_key

REQUEST_ID = "0b8f4a52-5f0e-4d7e-9d5b-3a3a9f4cf7b1"
TENANTS = ["a", "A", "ab", "a/b", "a.b", "a b", "ä", "a*", "a\n", "..", "MFRA", "mfra", "名前", "=", "a="]


def test_key_names_tenant_request_attempt_and_file() -> None:
    assert video_key("acme", REQUEST_ID, 2, "video.mp4") == f"videos/mfrw2zi/{REQUEST_ID}/2/video.mp4"


def test_no_tenants_prefix_begins_with_anothers() -> None:
    prefixes = [request_prefix(tenant, REQUEST_ID) for tenant in TENANTS]
    assert not any(one.startswith(other) for one, other in itertools.permutations(prefixes, 2))
    assert all(re.fullmatch(r"videos/[a-z2-7]+/[0-9a-f-]+/", prefix) for prefix in prefixes)


def test_prefix_of_a_request_covers_its_attempts_and_no_other_request() -> None:
    prefix = request_prefix("acme", "1")
    assert video_key("acme", "1", 1, "a.mp4").startswith(prefix)
    assert video_key("acme", "1", 10, "b.mp4").startswith(prefix)
    assert not video_key("acme", "11", 1, "a.mp4").startswith(prefix)


@pytest.mark.parametrize("file_name", ["", ".", "..", "../x.mp4", "a/b.mp4", "a\x00.mp4", "a b.mp4", "x" * 256])
def test_unsafe_file_name_is_refused(file_name: str) -> None:
    with pytest.raises(ValueError, match="not a part of an object's key"):
        video_key("acme", REQUEST_ID, 1, file_name)


def test_empty_tenant_and_attempt_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="tenant"):
        video_key("", REQUEST_ID, 1, "video.mp4")
    with pytest.raises(ValueError, match="attempts count from 1"):
        video_key("acme", REQUEST_ID, 0, "video.mp4")


def test_key_of_an_upload_says_whose_it_is() -> None:
    for tenant in TENANTS:
        key = upload_key(tenant, "1", "fox.png")
        assert key.startswith(upload_prefix(tenant))
        assert parse_upload_key(key) == (tenant, "1", "fox.png")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "uploads/mfrw2zi/1",
        "uploads/mfrw2zi/1/",
        "uploads/mfrw2zi//fox.png",
        "uploads/MFRW2ZI/1/fox.png",
        "uploads/mfrw2zj/1/fox.png",  # bits that no text leaves behind
        "uploads/mfrw2zi/1/fox.png/",
        "uploads/mfrw2zi/../fox.png",
        "uploads/mfrw2zi/1/../fox.png",
        "uploads/mfrw2zi/1/fox%2Epng",
        "uploads/mfrw2zi/1/fox.png\n",
        "uploads/77776===/1/fox.png",
        "Uploads/mfrw2zi/1/fox.png",
        "videos/mfrw2zi/1/fox.png",
    ],
)
def test_only_the_very_text_that_was_made_is_the_key_of_an_upload(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_upload_key(key)
