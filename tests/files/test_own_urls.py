"""Which object a URL names, at either endpoint, whatever has been done to it."""

import dataclasses

import pytest

from files import ObjectStore, ObjectStoreSettings
from files.own_urls import OwnUrls

SETTINGS = ObjectStoreSettings(
    endpoint="store.internal:9000",
    access_key="key",
    secret_key="secret",
    bucket="videos",
    secure=False,
    public_endpoint="videos.example.org",
)
KEY = "uploads/mfrw2zi/1/fox.png"


@pytest.fixture
def own_urls() -> OwnUrls:
    return OwnUrls(ObjectStore(SETTINGS).bucket)


@pytest.mark.parametrize(
    "url",
    [
        f"https://videos.example.org/videos/{KEY}",
        f"https://videos.example.org:443/videos/{KEY}",
        f"HTTPS://Videos.Example.ORG/videos/{KEY}?X-Amz-Signature=1#x",
        f"http://store.internal:9000/videos/{KEY}",
        "https://videos.example.org/videos/uploads%2Fmfrw2zi%2F1%2Ffox%2Epng",
    ],
)
def test_own_urls_are_recognised(own_urls: OwnUrls, url: str) -> None:
    assert own_urls.key_of(url) == KEY


def test_presigned_urls_are_recognised(own_urls: OwnUrls) -> None:
    for settings in (SETTINGS, dataclasses.replace(SETTINGS, public_endpoint=None)):
        url = ObjectStore(settings).presign_get("uploads/mfrw2zi/1/a b+ü.png", 60)
        assert own_urls.key_of(url) == "uploads/mfrw2zi/1/a b+ü.png"


def test_a_key_is_decoded_once(own_urls: OwnUrls) -> None:
    assert own_urls.key_of("https://videos.example.org/videos/uploads%252Fx") == "uploads%2Fx"


@pytest.mark.parametrize(
    "url",
    [
        f"https://videos.example.org/other/{KEY}",
        f"https://videos.example.org/videosx/{KEY}",
        f"http://videos.example.org/videos/{KEY}",
        f"https://videos.example.org:8443/videos/{KEY}",
        f"https://videos.example.org.evil.com/videos/{KEY}",
        f"https://evil.com/videos/{KEY}",
        f"https://videos.example.org@evil.com/videos/{KEY}",
        f"https://user@videos.example.org/videos/{KEY}",
        f"https://evil.com\\@videos.example.org/videos/{KEY}",
        f"https://videos.example.org:port/videos/{KEY}",
        f"s3://videos/{KEY}",
        f"//videos.example.org/videos/{KEY}",
        f"/videos/{KEY}",
        KEY,
        "",
        "https://[::1/videos/x",
    ],
)
def test_urls_of_others_are_not_ours(own_urls: OwnUrls, url: str) -> None:
    assert own_urls.key_of(url) is None
