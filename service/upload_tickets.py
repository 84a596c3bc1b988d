"""Upload ids of uploads in parts: all that the later calls need to know, sealed, so that no state is kept here.

An id names key and size, and its seal keeps both from being changed. The seal's key is derived from the secret of the
object store, which every replica has; when that secret changes, unfinished uploads begin again.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from files import parse_upload_key
from service.errors import file_not_found

_SEAL_BYTES = 16
_PURPOSE = b"cogreel.v1 upload id"


@dataclass(frozen=True, slots=True)
class Ticket:
    """An upload in parts: its object's key, the store's id for it, and the size of the whole in bytes."""

    key: str
    store_upload_id: str
    size_bytes: int


class Tickets:
    """Writes and reads upload ids."""

    def __init__(self, store_secret: str) -> None:
        self._seal_key = hmac.digest(store_secret.encode(), _PURPOSE, "sha256")

    def seal(self, ticket: Ticket) -> str:
        """The upload id of a ticket."""
        body = f"{ticket.size_bytes} {ticket.key} {ticket.store_upload_id}".encode()
        return base64.urlsafe_b64encode(self._mark(body) + body).decode().rstrip("=")

    def read(self, upload_id: str, tenant: str) -> Ticket:
        """What an upload id says.

        Raises:
            CallError: FILE_NOT_FOUND: it was not made here, or for another tenant.
        """
        try:
            sealed = base64.urlsafe_b64decode(upload_id + "=" * (-len(upload_id) % 4))
        except (binascii.Error, ValueError) as error:
            raise file_not_found(upload_id) from error
        mark, body = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
        if not hmac.compare_digest(mark, self._mark(body)):
            raise file_not_found(upload_id)
        size, key, store_upload_id = body.decode().split(" ", 2)
        if parse_upload_key(key).tenant != tenant:
            raise file_not_found(upload_id)
        return Ticket(key, store_upload_id, int(size))

    def _mark(self, body: bytes) -> bytes:
        return hmac.digest(self._seal_key, body, "sha256")[:_SEAL_BYTES]
