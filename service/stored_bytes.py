"""The bytes that a tenant keeps in the store, held against its limit."""

from __future__ import annotations

from files import ObjectStore
from files.keys import tenant_prefixes
from jobs.admission import STORED_RETRY_S, LimitsOf
from jobs.errors import LimitExceededError


class StoredBytes:
    """Counts what the store lists of a tenant, uploads and videos, and only where the tenant has a limit."""

    def __init__(self, store: ObjectStore, limits_of: LimitsOf) -> None:
        self._store = store
        self._limits_of = limits_of

    async def check(self, tenant: str, size_bytes: int) -> None:
        """Refuse a file that would take a tenant above its limit.

        What is being uploaded at the moment is not counted, so uploads at once may exceed the limit together.

        Raises:
            LimitExceededError: the limit would be exceeded.
            StoreUnavailableError: the store does not answer.
        """
        limits = self._limits_of(tenant)
        if not limits.HasField("stored_bytes"):
            return
        stored = 0
        for prefix in tenant_prefixes(tenant):
            async for found in self._store.list_objects(prefix):
                stored += found.size_bytes
        if stored + size_bytes > limits.stored_bytes:
            raise LimitExceededError("stored_bytes", limits.stored_bytes, STORED_RETRY_S)
