"""Data URIs: one strict reading."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files import NotADataUriError
from files.data_uri import is_data_uri, parse_data_uri


@given(st.binary(min_size=1, max_size=1000))
def test_content_comes_back(content: bytes) -> None:
    text = base64.b64encode(content).decode()
    for head in ("data:image/png;base64,", "data:;base64,", "DATA:image/svg+xml;charset=utf-8;BASE64,"):
        assert is_data_uri(head + text)
        assert parse_data_uri(head + text, max_bytes=1000) == content


@pytest.mark.parametrize(
    "uri",
    [
        "data:,hello",
        "data:text/plain,hello",
        "data:image/png;base64",
        "data:image/png;base64;AAAA",
        "data:image/png;base64,",
        "data:image/png;base64,AAA",
        "data:image/png;base64,AAAA=",
        "data:image/png;base64,AAB=",  # bits behind the padding
        "data:image/png;base64,AA AA",
        "data:image/png;base64,AAAA\n",
        "data:image/png;base64,AA-_",
        "data:image/png;base64,AAA%3D",
        "data:image/png;base64,ÄÄÄÄ",
        "data:" + "x" * 300 + ";base64,AAAA",
        " data:image/png;base64,AAAA",
    ],
)
def test_anything_but_plain_base64_is_refused(uri: str) -> None:
    with pytest.raises(NotADataUriError):
        parse_data_uri(uri, max_bytes=1000)


@pytest.mark.parametrize("size", [10, 11, 12])
def test_size_is_bounded_to_the_byte(size: int) -> None:
    uri = f"data:;base64,{base64.b64encode(bytes(size)).decode()}"
    assert len(parse_data_uri(uri, max_bytes=size)) == size
    with pytest.raises(NotADataUriError, match=f"at most {size - 1} bytes"):
        parse_data_uri(uri, max_bytes=size - 1)
