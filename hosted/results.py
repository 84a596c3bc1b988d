"""The result of a request, in the shape of the hosted model's output."""

from __future__ import annotations

from cogreel.v1.video_pb2 import Timings, VideoOutput


def result_json(output: VideoOutput) -> dict[str, object]:
    """The output of a completed request."""
    video = output.video
    return {
        "video": {
            "url": video.url,
            "content_type": video.content_type,
            "file_name": video.file_name,
            "file_size": video.file_size,
        },
        "timings": _timings_json(output.timings),
        "seed": output.seed,
        "prompt": output.prompt,
    }


def _timings_json(timings: Timings) -> dict[str, float]:
    """Seconds by stage; `inference` is the hosted name of denoising."""
    seconds = {
        field.name: round(getattr(timings, field.name).ToTimedelta().total_seconds(), 3)
        for field, _ in timings.ListFields()
    }
    return {"inference": seconds.get("denoise", 0.0)} | seconds
