"""From a prompt to an MP4, in ten lines."""

from cogreel import CogReel

with CogReel() as client:  # COGREEL_ADDRESS and COGREEL_API_KEY say where, and as whom
    video = client.subscribe(
        prompt="A garden comes to life as a kaleidoscope of butterflies flutters amidst the blossoms",
        seed=42,
    )
    path = client.download(video, "garden.mp4", overwrite=True)
    print(f"{path}: {video.frames} frames of {video.size.width} x {video.size.height}, seed {video.seed}")
