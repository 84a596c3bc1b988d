"""File names of callers, made harmless."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files import upload_key
from files.names import MAX_SHOWN_BYTES, key_name, shown_name


@pytest.mark.parametrize(
    ("given_name", "shown", "in_key"),
    [
        ("fox.png", "fox.png", "fox.png"),
        ("  my  fox .png", "my fox .png", "my_fox_.png"),
        ("/etc/passwd", "passwd", "passwd"),
        ("C:\\Users\\x\\fox.png", "fox.png", "fox.png"),
        ("..", "file.png", "file.png"),
        (".htaccess", "htaccess", "htaccess"),
        ("a\0b\u202e\u200bc.png", "abc.png", "abc.png"),
        ("Füchse.png", "Füchse.png", "Fuchse.png"),
        ("狐.png", "狐.png", "png"),
        ("🦊", "🦊", "file"),
        (None, "file.png", "file.png"),
    ],
)
def test_name_is_shown_without_what_does_harm(given_name: str | None, shown: str, in_key: str) -> None:
    assert shown_name(given_name, "image/png") == shown
    assert key_name(shown) == in_key


@given(st.text(max_size=300))
def test_any_text_makes_a_name_and_a_key(text: str) -> None:
    shown = shown_name(text, "image/png")
    assert 0 < len(shown.encode()) <= MAX_SHOWN_BYTES
    assert not set(shown) & set('/\\\0\r\n"')
    in_key = key_name(shown)
    assert len(in_key) <= 80
    assert set(in_key) <= set(string.ascii_letters + string.digits + "._-")
    assert upload_key("a", "1", in_key)


def test_a_long_name_keeps_its_suffix() -> None:
    assert shown_name("é" * 300 + ".webm", "video/webm").endswith("é.webm")
