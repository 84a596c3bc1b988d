"""Uploads a picture and makes a video that begins with it: `python from_a_picture.py portrait.png`."""

import sys
from pathlib import Path

from cogreel import CogReel

picture = Path(sys.argv[1])
with CogReel() as client:
    uploaded = client.upload(picture, on_progress=lambda done, total: print(f"{done} of {total} bytes"))
    video = client.subscribe(prompt="The portrait comes to life", image=uploaded, seed=42)
    client.download(video, f"{picture.stem}.mp4")
    print(f"{picture.stem}.mp4 begins with {picture.name}")
