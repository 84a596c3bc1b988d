"""What a webhook says, in the words of the hosted service: its receivers need not know whose service calls them."""

from __future__ import annotations

import json
from collections.abc import Callable

from cogreel.v1.video_pb2 import VideoOutput

from hosted.failures import CANCELLED, ending_of
from hosted.results import result_json
from jobs.record_pb2 import Record, State


def webhook_body(record: Record, output_of: Callable[[Record], VideoOutput]) -> bytes:
    """The body of the POST for a request that has ended; `output_of` gives its result, with a URL made for this."""
    told: dict[str, object] = {"request_id": record.request_id, "gateway_request_id": record.request_id}
    if record.state == State.STATE_COMPLETED:
        told |= {"status": "OK", "payload": result_json(output_of(record))}
    else:
        ending = CANCELLED if record.state == State.STATE_CANCELLED else ending_of(record.failure)
        told |= {"status": "ERROR", "error": f"Invalid status code: {ending.status}", "payload": ending.body()}
    return json.dumps(told).encode()
