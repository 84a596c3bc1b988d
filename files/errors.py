"""What can go wrong with the object store, as far as a caller can act on it."""


class StoreUnavailableError(RuntimeError):
    """The object store is out of reach, overloaded or failing. The same call may succeed later."""


class ObjectNotFoundError(LookupError):
    """There is no object of this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key}")
        self.key = key


class NotADataUriError(ValueError):
    """The text is not a base64 data URI as this service takes them; the message says which rule it breaks."""


class FetchRefusedError(ValueError):
    """A URL is not fetched, now or later; the message says which rule it or its content breaks, without its query."""


class FetchFailedError(RuntimeError):
    """The server of a URL did not deliver. The same fetch may succeed later; the message shows no query."""
