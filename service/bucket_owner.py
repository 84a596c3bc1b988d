"""Whether a bucket is that of this queue: to another one, everything in it would look as if nobody needed it."""

from __future__ import annotations

from files import ObjectNotFoundError, ObjectStore

BUCKET_MARK = "queue"


async def belongs_to_queue(store: ObjectStore, stream_created: int) -> bool:
    """Whether the bucket bears the creation time of the queue's stream; one that bears none yet is marked with it.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    mine = str(stream_created).encode()
    try:
        return await store.read(BUCKET_MARK) == mine
    except ObjectNotFoundError:
        await store.put_bytes(BUCKET_MARK, mine, content_type="text/plain")
        return True
