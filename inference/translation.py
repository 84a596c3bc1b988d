"""Between the contract's messages and what a model takes and gives."""

from __future__ import annotations

from datetime import UTC

from cogreel.v1.queue_pb2 import SubmitRequest
from cogreel.v1.video_pb2 import File, ImageSize, ModelVersion, Timings, VideoOutput

from inference.model import Generation, Lora, ModelIdentity, Start
from inference.render import Rendered
from jobs.cards import input_of
from jobs.record_pb2 import Record


def generation_of(submission: SubmitRequest, start: Start | None = None, lora: Lora | None = None) -> Generation:
    """What the model is asked to make, from a resolved submission and the files that it names."""
    text = input_of(submission)
    return Generation(
        prompt=text.prompt,
        negative_prompt=text.negative_prompt,
        width=text.video_size.dimensions.width,
        height=text.video_size.dimensions.height,
        num_inference_steps=text.num_inference_steps,
        guidance_scale=text.guidance_scale,
        seed=text.seed,
        use_rife=text.use_rife,
        export_fps=text.export_fps,
        start=start,
        lora=lora,
    )


def model_version(identity: ModelIdentity) -> ModelVersion:
    """Which weights a worker has, or a video is by."""
    return ModelVersion(
        name=identity.name, revision=identity.revision, digest=identity.digest, profile=identity.profile
    )


def video_output(generation: Generation, rendered: Rendered, identity: ModelIdentity, timings: Timings) -> VideoOutput:
    """A finished video as its caller gets it; the URL is made for each answer anew."""
    return VideoOutput(
        video=File(content_type="video/mp4", file_name=rendered.path.name, file_size=rendered.size_bytes),
        timings=timings,
        seed=generation.seed,
        prompt=generation.prompt,
        model=model_version(identity),
        size=ImageSize(width=rendered.width, height=rendered.height),
        native_size=ImageSize(width=rendered.native_width, height=rendered.native_height),
        frames=rendered.frames,
        fps=rendered.fps,
        sha256=rendered.sha256,
    )


def waited_s(record: Record) -> float:
    """Seconds from a request's arrival in the queue to the start of the present attempt."""
    return (record.started_time.ToDatetime(UTC) - record.queued_time.ToDatetime(UTC)).total_seconds()
