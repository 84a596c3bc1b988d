"""What is simulated: who asks for what, how long it takes, and who works.

A scenario is read from JSON, and each error names field and rule. Times are seconds, rates are what their name says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from bench.simulation.scaling import Scaling

ENDPOINT = "fal-ai/cogvideox-5b"
Priority = Literal["normal", "low"]


class ScenarioError(ValueError):
    """A scenario cannot be read; the message names each field and what is wrong with it."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Times(_Model):
    """How long one video takes, stage by stage. The first four stages have the device, the last two do not."""

    step_s: float = Field(ge=0)
    """A denoising step."""
    prepare_s: float = Field(default=0.0, ge=0)
    """Fetching inputs and embedding the prompt."""
    decode_s: float = Field(default=0.0, ge=0)
    """From latents to frames."""
    interpolate_s: float = Field(default=0.0, ge=0)
    """RIFE."""
    encode_s: float = Field(default=0.0, ge=0)
    """H.264, as far as it is done while the next request has the device. The whole of it is the most that this can be:
    early frames are encoded while later ones are decoded."""
    upload_s: float = Field(default=0.0, ge=0)
    """Storing the video, likewise."""
    variation: float = Field(default=0.0, ge=0, le=3)
    """Standard deviation of the time on the device over its mean: a gamma distribution; 0 is always the same time, 1 an
    exponential one."""
    source: str = ""
    """Where the numbers come from."""

    def on_device_s(self, steps: int) -> float:
        """The mean time for which a request of so many steps has the device."""
        return self.prepare_s + self.step_s * steps + self.decode_s + self.interpolate_s

    def after_device_s(self) -> float:
        """The time from then until its video is stored."""
        return self.encode_s + self.upload_s


def _published(seconds: float, what: str) -> Times:
    """A published time for a whole video of 50 steps, all of it on the device.

    It is laid out over the steps: of the work in a video of 720 × 480, 49 frames and 50 steps, 33.2 of 33.5 PFLOP are
    denoising. Encoding and storing are what they took beside it on two CPU cores (docs/measurements.md,
    docs/9-kubernetes.md).
    """
    source = f"published for {what}, not measured by us; encode and upload measured on 2 CPU cores; no RIFE"
    return Times(step_s=seconds / 50, encode_s=1.3, upload_s=0.2, source=source)


TIMES: dict[str, Times] = {
    "h100": _published(90.0, "one H100 by CogVideoX's model card"),
    "h100-eager": _published(112.0, "one H100, eager"),
    "h100-compiled": _published(87.0, "one H100, compiled"),
    "h100-fp8": _published(75.0, "one H100, fp8 and compiled"),
    "a100": _published(180.0, "one A100 by CogVideoX's model card"),
}
"""CogVideoX-5B on GPUs, by name. All of them are published times."""


class Flow(_Model):
    """Requests of one kind, which come at random and independently (a Poisson process)."""

    name: str = "requests"
    """What the report calls them."""
    per_hour: PositiveFloat
    """How many requests come in an hour in which any come, in the mean."""
    tenant: str = "tenant"
    """Who owns them."""
    endpoint: str = ENDPOINT
    """What they are for."""
    priority: Priority = "normal"
    """Normal goes before low, always."""
    steps: PositiveInt = 50
    """Denoising steps of each."""
    batch: PositiveInt = 1
    """How many are submitted at once."""
    from_hour: float = Field(default=0.0, ge=0, lt=24)
    """The hour of the day from which they come."""
    until_hour: float = Field(default=24.0, gt=0, le=24)
    """The hour of the day until which they come."""

    @model_validator(mode="after")
    def _day_has_some_hours(self) -> Flow:
        if self.until_hour <= self.from_hour:
            raise ValueError("until_hour must be after from_hour")
        return self


class Limits(_Model):
    """What one tenant may have, as `cogreeld keys create` sets it; left out is not limited."""

    running: PositiveInt | None = None
    """Requests in line or running; those above it are held."""
    queued: PositiveInt | None = None
    """Requests that wait; those above it are refused."""
    requests_per_minute: PositiveInt | None = None
    """Submissions; those above it are refused."""


class Group(_Model):
    """Workers of one kind, each with one device."""

    name: str = "workers"
    """What the report calls them."""
    endpoints: tuple[str, ...] = Field(default=(ENDPOINT,), min_length=1)
    """What they serve, in turn."""
    replicas: PositiveInt = 1
    """How many there are, unless they are scaled; they are there from the beginning."""
    scaling: Scaling | None = None
    """How many there are, where that follows the demand; at the beginning the least."""
    start_s: float = Field(default=0.0, ge=0)
    """From the wish for a worker until it takes requests: its node, its image, its model."""
    grace_s: float = Field(default=240.0, ge=0)
    """For how long a worker that is stopped may finish what it does (COGREEL_WORKER_GRACE_S)."""


class Broker(_Model):
    """What the queue itself takes. The defaults are measured: docs/measurements.md, one broker."""

    submit_s: float = Field(default=0.0021, ge=0)
    """From the beginning of Submit until the request is in line."""
    claim_s: float = Field(default=0.0015, ge=0)
    """From being in line until an idle worker has it: 3.6 ms from the beginning of Submit, less the time for that."""
    between_s: float = Field(default=0.0057, ge=0)
    """Between two requests on a device that has a backlog, claiming included."""
    writes_per_s: PositiveFloat | None = 1061.0
    """States that one stream takes a second; the measured rate is that of submissions, of which each is one."""
    streams: PositiveInt = 1
    """Over how many streams tenants are spread. The program has one; more are a plan."""


class Scenario(_Model):
    """All of it."""

    times: Times
    flows: tuple[Flow, ...] = Field(min_length=1)
    tenants: dict[str, Limits] = {}
    max_waiting: PositiveInt = 100_000
    """Requests that may wait, of all tenants (COGREEL_QUEUE_MAX_REQUESTS)."""
    groups: tuple[Group, ...] = (Group(),)
    broker: Broker = Broker()

    @model_validator(mode="after")
    def _somebody_serves_each_endpoint(self) -> Scenario:
        served = {endpoint for group in self.groups for endpoint in group.endpoints}
        for number, flow in enumerate(self.flows):
            if flow.endpoint not in served:
                raise ValueError(f"flows.{number}.endpoint: no group of workers serves {flow.endpoint}")
        return self

    @property
    def offered_load(self) -> float:
        """How many devices the requests keep busy in the mean, in the hours in which all flows come."""
        return sum(flow.per_hour * self.times.on_device_s(flow.steps) / 3600 for flow in self.flows)


def read_scenario(path: Path) -> Scenario:
    """A scenario from a JSON file.

    Raises:
        ScenarioError: it cannot be read.
    """
    try:
        return Scenario.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise ScenarioError(explained(error)) from error


def explained(error: ValidationError) -> str:
    """Each field of a validation error with what is wrong with it."""
    parts = ((".".join(str(part) for part in found["loc"]), found["msg"]) for found in error.errors())
    return "; ".join(f"{field}: {problem}" if field else problem for field, problem in parts)
