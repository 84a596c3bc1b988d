"""File names as callers give them, made fit to be shown and to be a part of a key."""

import mimetypes
import re
import unicodedata

MAX_SHOWN_BYTES = 200
"""Of UTF-8; file systems take 255."""
_MAX_KEY_CHARACTERS = 80
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_CONTROL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Refused by some file system, or with a meaning in a path, a URL or a shell.
_FORBIDDEN = frozenset('/\\:*?"<>|%')


def shown_name(given: str | None, content_type: str) -> str:
    """A file name for people: the last component of what was given, without control characters.

    Without a name, or where nothing of it remains, it is `file` with the suffix of the content type.
    """
    text = unicodedata.normalize("NFC", given or "").replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in text if unicodedata.category(c) not in _CONTROL and c not in _FORBIDDEN)
    name = " ".join(kept.split()).strip(". ")
    if not name:
        return f"file{mimetypes.guess_extension(content_type) or ''}"
    stem, dot, suffix = name.rpartition(".")
    if dot and stem and len(suffix) <= 10:  # a name that is cut keeps what says its kind
        return f"{_cut(stem, MAX_SHOWN_BYTES - 1 - len(suffix.encode()))}.{suffix}"
    return _cut(name, MAX_SHOWN_BYTES)


def key_name(shown: str) -> str:
    """The same name as a part of an object's key: ASCII letters, digits, dots, dashes and underscores only."""
    plain = unicodedata.normalize("NFKD", shown).encode("ascii", "ignore").decode("ascii")
    safe = _UNSAFE.sub("_", plain).lstrip("._-")
    stem, dot, suffix = safe.rpartition(".")
    if dot and stem:
        return f"{stem[: _MAX_KEY_CHARACTERS - 11]}.{suffix[:10]}"
    return safe[:_MAX_KEY_CHARACTERS] or "file"


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")
