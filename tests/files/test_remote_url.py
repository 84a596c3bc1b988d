"""The one parser of other servers' URLs: what it reads, and the tricks that it refuses."""

import pytest

from files.errors import FetchRefusedError
from files.remote_url import MAX_URL_BYTES, RemoteUrl


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://example.org", RemoteUrl("http", "example.org", 80, "/")),
        ("HTTPS://Example.ORG./A.png?b=C#d", RemoteUrl("https", "example.org", 443, "/A.png?b=C")),
        ("http://example.org:8080?x=/@", RemoteUrl("http", "example.org", 8080, "/?x=/@")),
        ("https://example.org/a@b:c//d", RemoteUrl("https", "example.org", 443, "/a@b:c//d")),
        ("http://192.0.2.1/", RemoteUrl("http", "192.0.2.1", 80, "/")),
        ("http://[2001:DB8:0::1]:81/", RemoteUrl("http", "2001:db8::1", 81, "/")),
        ("http://xn--bcher-kva.example/%C3%BC", RemoteUrl("http", "xn--bcher-kva.example", 80, "/%C3%BC")),
    ],
)
def test_urls_are_read(text: str, read: RemoteUrl) -> None:
    assert RemoteUrl.parse(text) == read
    assert RemoteUrl.parse(str(read)) == read


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "printable"),
        ("example.org/a.png", "of the form"),
        ("ftp://example.org/a.png", "of the form"),
        ("file:///etc/passwd", "of the form"),
        ("http:example.org", "of the form"),
        ("http:/example.org", "of the form"),
        ("http:///example.org", "of the form"),
        ("http://", "of the form"),
        ("http://:80/", "of the form"),
        ("http://example.org:/", "of the form"),
        ("http://example.org:80:81/", "of the form"),
        ("http://example.org:x/", "of the form"),
        ("http://example.org:0/", "with a port"),
        ("http://example.org:65536/", "with a port"),
        ("http://user@example.org/", "without user name"),
        ("http://user:secret@example.org/", "without user name"),
        ("http://example.org@127.0.0.1/", "without user name"),
        ("http://example.org%40127.0.0.1/", "of the form"),
        ("http://example.org\\@127.0.0.1/", "backslashes"),
        ("http://127.0.0.1\\.example.org/", "backslashes"),
        ("http:\\\\127.0.0.1/", "backslashes"),
        ("http://example.org/\r\nHost: x", "printable"),
        ("http://exam\tple.org/", "printable"),
        (" http://example.org/", "printable"),
        ("http://example.org/a b", "printable"),
        ("http://bücher.example/", "printable"),
        ("http://①②⑦.⓪.⓪.①/", "printable"),
        ("http://127。0。0。1/", "printable"),
        ("http://2130706433/", "four decimal numbers"),
        ("http://0x7f000001/", "four decimal numbers"),
        ("http://0x7f.0.0.1/", "four decimal numbers"),
        ("http://0x/", "four decimal numbers"),
        ("http://017700000001/", "four decimal numbers"),
        ("http://0177.0.0.1/", "four decimal numbers"),
        ("http://127.0.0.01/", "four decimal numbers"),
        ("http://127.1/", "four decimal numbers"),
        ("http://127.0.0.1.1/", "four decimal numbers"),
        ("http://256.0.0.1/", "four decimal numbers"),
        ("http://example.0x7f/", "four decimal numbers"),
        ("http://0/", "four decimal numbers"),
        ("http://127.0.0.1../", "valid name"),
        ("http://a..b/", "valid name"),
        ("http://.example.org/", "valid name"),
        ("http://" + "a" * 64 + ".org/", "valid name"),
        ("http://" + "a." * 127 + "org/", "valid name"),
        ("http://[::1/", "of the form"),
        ("http://[::1]x/", "of the form"),
        ("http://[fe80::1%25eth0]/", "of the form"),
        ("http://[:::]/", "IPv6 address is valid"),
        ("http://[127.0.0.1]/", "IPv6 address is valid"),
        ("http://example.org/" + "a" * MAX_URL_BYTES, "at most"),
    ],
)
def test_what_readers_could_disagree_about_is_refused(text: str, rule: str) -> None:
    with pytest.raises(FetchRefusedError, match=rule):
        RemoteUrl.parse(text)


@pytest.mark.parametrize(
    ("location", "read"),
    [
        ("/b.png", "http://example.org:81/b.png"),
        ("c.png?x", "http://example.org:81/a/c.png?x"),
        ("../d.png", "http://example.org:81/d.png"),
        ("//other.example/", "http://other.example/"),
        ("https://other.example", "https://other.example/"),
    ],
)
def test_redirects_are_read_from_where_they_come(location: str, read: str) -> None:
    assert str(RemoteUrl.parse("http://example.org:81/a/b.png?secret").joined(location)) == read


@pytest.mark.parametrize(
    "location",
    ["", "file:///etc/passwd", "javascript:alert(1)", "//user@h/", "//127.1/", "\\\\127.0.0.1\\", "/\t/127.0.0.1/"],
)
def test_a_redirect_that_is_no_url_is_refused_without_the_query_of_where_it_comes_from(location: str) -> None:
    start = RemoteUrl.parse("http://example.org/a?secret")
    with pytest.raises(FetchRefusedError, match=r"http://example\.org/a redirects to") as raised:
        start.joined(location)
    assert "secret" not in str(raised.value)


def test_a_query_is_not_shown_and_long_paths_are_cut() -> None:
    assert RemoteUrl.parse("https://[2001:db8::1]/a.png?X-Amz-Signature=1").shown == "https://[2001:db8::1]/a.png"
    assert len(RemoteUrl.parse("https://example.org/" + "a" * 1000).shown) == 201
