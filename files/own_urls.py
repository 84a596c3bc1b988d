"""Which object a URL of ours names, whether or not its signature still works."""

from urllib.parse import unquote, urlsplit

from files.bucket import Bucket

_PORTS = {"http": 80, "https": 443}


class OwnUrls:
    """Recognises the URLs of one bucket, at the endpoint of this process and at the public one."""

    def __init__(self, bucket: Bucket) -> None:
        self._roots = set()
        for client in (bucket.client, bucket.public_client):
            origin, path = _split(client.get_presigned_url("GET", bucket.name, "x"))
            self._roots.add((origin, path.removesuffix("x")))

    def key_of(self, url: str) -> str | None:
        """The key that a URL of this bucket names, decoded once; None for any other URL.

        Query and fragment say nothing about which object it is, and are not looked at.
        """
        try:
            origin, path = _split(url)
        except ValueError:
            return None
        for root_origin, root_path in self._roots:
            if origin == root_origin and path.startswith(root_path):
                return unquote(path.removeprefix(root_path))
        return None


def _split(url: str) -> tuple[tuple[str, str, int], str]:
    """Scheme, host and port of a URL, and its path as it is written. Raises ValueError where it is no http(s) URL."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise ValueError("not an http or https URL")
    return (parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]), parts.path
