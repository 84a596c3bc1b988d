"""What can go wrong, and what a program can do about it: each meaning is an exception of its own."""

import time
import uuid

import cogreel
from cogreel import CogReel
from cogreel.submission import TextToVideo


def submit_patiently(client: CogReel, options: TextToVideo) -> str:
    """Submit a request; where the service takes no more for now, wait for as long as it asks to."""
    while True:
        try:
            return client.submit(**options).request_id
        except cogreel.LimitExceededError as error:
            wait_s = error.retry_after.total_seconds() if error.retry_after else 10
            print(f"waiting {wait_s:.0f} s: {error.message}")
            time.sleep(wait_s)


with CogReel() as client:
    try:
        client.submit(prompt=" ", num_inference_steps=51)
    except cogreel.InvalidInputError as error:  # ours to correct: each violation names a field and its rule
        for violation in error.violations:
            print(f"refused: {violation.field} {violation.description}")

    try:
        client.submit("no/such-model", prompt="A glacier calving")
    except cogreel.NotFoundError as error:
        print(f"{error.reason}: there is no {error.resource}, there is {', '.join(error.endpoints)}")

    key = str(uuid.uuid4())  # the same key and input find the same request, however often they are submitted
    request_id = submit_patiently(client, {"prompt": "A glacier calving", "idempotency_key": key})
    again = submit_patiently(client, {"prompt": "A glacier calving", "idempotency_key": key})
    print(f"one request: {request_id == again}")
    try:
        client.submit(prompt="Another prompt", idempotency_key=key)
    except cogreel.IdempotencyConflictError as error:
        print(f"the key belongs to this very request: {error.existing_request_id == request_id}")

    client.cancel(request_id)
    try:
        video = client.result(request_id)
    except cogreel.RequestCancelledError:
        print("cancelled: whoever wants it after all submits it again")
    except cogreel.RequestFailedError as error:
        print(f"failed after {error.attempts} attempts, {error.failure}: {error.message}")
    except cogreel.UnavailableError as error:  # the way to the service, not the request: that goes on
        print(f"out of reach for now: {error.message}")
    except cogreel.CogReelError as error:  # all else, in one
        print(f"{type(error).__name__} {error.reason}: {error.message}")
