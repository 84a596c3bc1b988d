"""Watches a request across restarts of this program: stop it with Ctrl-C, run it again, and it goes on where it was.

A request lives on the service. Its id and the cursor of the last update are all that a program has to remember.
"""

import json
import sys
from pathlib import Path

from cogreel import CogReel, LogUpdate, ProgressUpdate, StateUpdate

SAVED = Path("watch.json")


def save(request_id: str, cursor: str | None) -> None:
    """Remember where we are: in full or not at all, whenever the program is killed."""
    new = SAVED.with_suffix(".new")
    new.write_text(json.dumps({"request_id": request_id, "cursor": cursor}))
    new.replace(SAVED)


def main() -> None:
    """Submit a request or go on with the last one, and watch it to its end."""
    with CogReel() as client:
        if SAVED.exists():
            saved = json.loads(SAVED.read_text())
            request_id, cursor = saved["request_id"], saved["cursor"]
            print(f"going on with {request_id}", flush=True)
        else:
            request_id, cursor = client.submit(prompt="A river through the seasons").request_id, None
            save(request_id, cursor)
            print(f"submitted {request_id}", flush=True)

        for update in client.watch(request_id, cursor=cursor):
            match update:
                case StateUpdate(state=state):
                    print(state, flush=True)
                case ProgressUpdate(stage="denoise", step=step, total=total) if step:
                    print(f"step {step} of {total}", flush=True)
                case LogUpdate(message=message):
                    print(message, flush=True)
            # Once the update has been dealt with: a program that dies in between sees it again, and loses none.
            save(request_id, update.cursor)

        client.download(client.result(request_id), f"{request_id}.mp4", overwrite=True)
        SAVED.unlink()
        print(f"saved {request_id}.mp4")


try:
    main()
except KeyboardInterrupt:
    sys.exit("stopped; run this again to go on")
