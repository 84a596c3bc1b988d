"""Fetches the video of every request since midnight that is completed and not here yet, into the folder `videos`."""

from datetime import datetime
from pathlib import Path

from cogreel import CogReel

FOLDER = Path("videos")
FOLDER.mkdir(exist_ok=True)

midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
with CogReel() as client:
    for status in client.list(states=["COMPLETED"], since=midnight):
        path = FOLDER / f"{status.request_id}.mp4"
        if path.exists():
            print(f"has {path}")
            continue
        video = client.result(status.request_id)
        client.download(video, path)
        print(f"got {path}: {video.prompt}")
