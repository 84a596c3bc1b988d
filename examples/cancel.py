"""Cancels a request in the middle: its device is free again within one step."""

from contextlib import closing

from cogreel import AlreadyFinishedError, CogReel, ProgressUpdate, RequestCancelledError, state_name

with CogReel() as client:
    request_id = client.submit(prompt="A storm over the sea").request_id
    print(f"submitted {request_id}")

    with closing(client.watch(request_id)) as updates:
        for update in updates:
            if isinstance(update, ProgressUpdate) and update.stage == "denoise" and update.step >= 3:
                print(f"changed my mind at step {update.step} of {update.total}")
                break  # this ends the watch and nothing else: the request goes on

    try:
        print(f"it is {state_name(client.cancel(request_id))} now")
    except AlreadyFinishedError as error:
        print(f"too late: it is {error.state}")

    try:
        client.result(request_id)
    except RequestCancelledError:
        print("there is no video")
