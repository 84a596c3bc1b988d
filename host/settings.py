"""The settings of every process: one frozen object, read from the environment (`COGREEL_*`), documented field by field.
Secrets may be in files instead.

A process that starts others hands its settings on by the environment too, so there is one way in.
"""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Literal

from cogreel.v1.admin_pb2 import ModelCard
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as PydanticSettingsError

from files import ObjectStoreSettings
from files.fetch_guard import AllowedPlace, FetchSettings
from gateway.settings import MAX_BODY_BYTES, GatewaySettings
from host.certificates import authorities_file, identity_files
from inference.profiles import Kernel, Profile
from jobs.broker import BrokerSettings
from jobs.cards import load_card
from jobs.nats_tls import NatsTls
from service.queue_servicer import QueueServiceSettings
from service.server import ServerSettings
from service.server_tls import ServerTls
from service.sweeper import SweeperSettings
from service.upload_rules import SMALLEST_LIFETIME_S, UploadSettings
from service.webhooks import WebhookSettings

LONGEST_PAUSE_S = 30 * 24 * 3600
HOSTED_ENDPOINT = "fal-ai/cogvideox-5b"
SECRETS_DIR = "COGREEL_SECRETS_DIR"
"""A folder with a file for each secret, as Kubernetes mounts a Secret: credentials then stand in no environment."""


class Settings(BaseSettings):
    """Every setting of every process; each process reads those that concern it."""

    model_config = SettingsConfigDict(env_prefix="COGREEL_", frozen=True, extra="ignore")

    nats_url: SecretStr = SecretStr("nats://127.0.0.1:4222")
    """NATS servers, comma-separated, with credentials: nats://user:password@host:port, or tls://…"""
    nats_ca_file: Path | None = None
    """PEM file of the authorities that NATS servers are trusted by, instead of the public ones."""
    nats_certificate: Path | None = None
    """PEM file of the certificate chain by which NATS servers know this process, where they ask for one."""
    nats_private_key: Path | None = None
    """PEM file of its key."""
    nats_tls_first: bool = False
    """Whether TLS to NATS begins before the server has spoken, for servers with `handshake_first`: then nobody in
    between can talk this process out of TLS."""
    nats_inbox_prefix: str = Field(default="_INBOX", pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*$")
    """Where the answers of NATS arrive; a prefix for each role keeps the answers to one from the others."""
    nats_replicas: int = Field(default=1, ge=1, le=5)
    """In how many copies the streams are kept: 1 alone, 3 in a cluster."""
    queue_max_bytes: int = Field(default=2 * 1024**3, gt=0)
    """Bytes that the queue's records may take; submissions are refused at 80 % of it."""
    queue_max_requests: int = Field(default=100_000, gt=0)
    """Requests that may wait at once, of all tenants; submissions above it are refused."""
    log_max_bytes: int = Field(default=2 * 1024**3, gt=0)
    """Bytes that steps and log lines may take; the oldest are dropped."""
    log_age_s: float = Field(default=7 * 24 * 3600, gt=0)
    """Seconds for which steps and log lines are kept."""

    s3_endpoint: str = "127.0.0.1:9000"
    """The S3 server, host:port."""
    s3_access_key: str = ""
    """Its access key."""
    s3_secret_key: SecretStr = SecretStr("")
    """Its secret key."""
    s3_bucket: str = "cogreel"
    """The bucket, made if it does not exist."""
    s3_region: str = "us-east-1"
    """The region, part of every signature."""
    s3_secure: bool = False
    """Whether the S3 server speaks TLS."""
    s3_public_endpoint: str | None = None
    """The name under which callers reach the S3 server, if it is another."""
    s3_public_secure: bool = True
    """Whether it speaks TLS under that name."""

    listen: str = "127.0.0.1:50051"
    """Where the gRPC server listens, host:port."""
    certificate: Path | None = None
    """PEM file of the certificate chain with which the gRPC server serves TLS; without one it serves none. Read again
    when it is replaced."""
    private_key: Path | None = None
    """PEM file of its key."""
    client_ca_file: Path | None = None
    """PEM file of the authorities that must have signed the certificates of callers; without it, they need none."""
    insecure: bool = False
    """Whether it may listen beyond this machine without TLS."""
    scaler_listen: str = ""
    """Where the service answers KEDA, host:port; empty for nowhere. Without a key, so open to whoever can reach it."""
    endpoints: dict[str, str] = {
        HOSTED_ENDPOINT: "cogvideox-5b",
        f"{HOSTED_ENDPOINT}/video-to-video": "cogvideox-5b-video-to-video",
    }
    """Which model card serves which endpoint: a built-in card's name or the path of a JSON file. JSON."""
    url_validity_s: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    """Seconds for which a presigned URL works."""
    checkpoint_s: float = Field(default=15.0, gt=0)
    """Seconds for which a watch may be silent before a checkpoint is sent."""
    retention_s: float = Field(default=7 * 24 * 3600, ge=60)
    """Seconds for which a request and its video are kept after its end, where the caller did not say."""
    max_upload_bytes: int = Field(default=1024**3, gt=0, le=64 * 1024**3)
    """Bytes that one uploaded file may have."""
    upload_lifetime_s: float = Field(default=24 * 3600, ge=SMALLEST_LIFETIME_S)
    """Seconds for which an uploaded file is kept that no request names."""
    fetch_from: Literal["public", "allowed", "none"] = "public"
    """From where files named by URL are fetched, and where webhooks are delivered: the internet and the allowed places,
    those alone, or nowhere."""
    fetch_allow: str = ""
    """Hosts and networks that are allowed though they are not public, comma-separated: name, address or network/bits;
    the first two may end in :port."""
    fetch_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds that fetching one file may take; the device waits for it."""
    hub_url: str = "https://huggingface.co"
    """The model hub on which LoRAs are that are named by an id, such as owner/name."""
    webhook_retry_s: str = ",".join(f"{pause_s:g}" for pause_s in WebhookSettings().retry_after_s)
    """Seconds before the second delivery of a webhook, the third and so on, comma-separated; then it is given up. A
    receiver that asks for more time by Retry-After gets it, up to the longest of these."""
    webhook_timeout_s: float = Field(default=15.0, gt=0)
    """Seconds that the receiver of a webhook may take to answer."""
    shutdown_grace_s: float = Field(default=5.0, ge=0)
    """Seconds for which calls may finish when the service stops."""

    model: str = "zai-org/CogVideoX-5b"
    """A hub id, a directory in diffusers format, `small` for the built-in small model, or `small-i2v` for its variant
    that begins with a picture."""
    devices: str = "cuda:0"
    """Devices of this machine's workers, comma-separated: cuda:N, cpu, simulated. One process each."""
    rife_directory: Path = Path("~/.cache/cogreel/rife")
    """Where `cogreeld fetch-rife` puts the weights of RIFE."""
    cpu_threads: int = Field(default=1, ge=1)
    """Threads that torch computes with on a CPU."""
    profile: Literal["exact", "fast"] = "exact"
    """How the model is run: with the numbers of the reference pipeline, or faster and a little different. It stands in
    every result."""
    step_cache: float = Field(default=0.1, ge=0, le=1)
    """How little a step must change to be taken from the one before it, in the fast profile: more is faster and
    differs more; 0 is without."""
    float8: bool = False
    """Whether the fast profile multiplies 8-bit floats, for a GPU that has them (Ada, Hopper, Blackwell): the
    transformer then takes about 60 % of the memory. It is meant to go with COGREEL_COMPILE."""
    compile: bool = False
    """Whether torch compiles the transformer's blocks, in either profile: each size is slow the first time, then
    faster. It takes a C++ compiler."""
    attention: Kernel = "auto"
    """What computes attention: torch's choice, FlashAttention 2, cuDNN, or the memory-efficient kernel. `bench/gpu.py`
    tells which is fastest."""
    offload: Literal["auto", "none", "parts"] = "auto"
    """Whether the text encoder and the transformer wait in the machine's memory until their turn, for a GPU that cannot
    hold both: as the GPU's memory asks for, never, always. The videos are the same."""
    lora_cache_bytes: int = Field(default=4 * 1024**3, ge=0)
    """Bytes of LoRAs that each worker keeps on disk for requests that name them again; 0 for none."""
    simulated_step_s: float = Field(default=0.02, ge=0)
    """Seconds that the simulated device sleeps a denoising step."""
    worker_name: str = Field(default_factory=socket.gethostname)
    """What this machine's workers are called, with the device added."""
    worker_grace_s: float = Field(default=30.0, ge=0)
    """Seconds for which a running request may finish when a worker stops; then it is handed back."""

    health_listen: str = ""
    """Where the workers of a machine, or a service beside its own port, answer gRPC health checks without TLS,
    host:port; empty for nowhere."""

    gateway_listen: str = "127.0.0.1:8080"
    """Where the HTTP gateway listens, host:port."""
    gateway_service: str = "127.0.0.1:50051"
    """Where the gateway finds the gRPC service: host:port, or https://host:port for TLS."""
    gateway_service_ca_file: Path | None = None
    """PEM file of the authorities that the gateway trusts for that, instead of the public ones."""
    gateway_service_certificate: Path | None = None
    """PEM file of the certificate chain by which the service knows the gateway, where it asks callers for one."""
    gateway_service_private_key: Path | None = None
    """PEM file of its key."""
    gateway_store: str = ""
    """Where the gateway reaches the S3 server, such as http://minio:9000, if not under the name that callers use."""
    gateway_certificate: Path | None = None
    """PEM file of the certificate chain with which the gateway serves TLS; without one it serves plain HTTP."""
    gateway_private_key: Path | None = None
    """PEM file of its key."""
    gateway_public_url: str = ""
    """What stands before the paths for callers of the gateway, such as https://videos.example.com; empty for what each
    call says."""
    gateway_cors_origins: str = ""
    """Origins of pages that may call the gateway from a browser, comma-separated; * for any, empty for none."""
    gateway_max_body_bytes: int = Field(default=MAX_BODY_BYTES, gt=0, le=MAX_BODY_BYTES)
    """Bytes that a submission over HTTP may have, data URIs included."""
    gateway_secret: SecretStr = SecretStr("")
    """Seals upload URLs and tokens; replicas of the gateway share it. Empty draws one at each start."""
    gateway_proxy_api_key: SecretStr = SecretStr("")
    """The API key for calls to the gateway's proxy path that bring none: whoever reaches it then calls as its tenant.
    Empty refuses them."""

    metrics_listen: str = ""
    """Where Prometheus finds the metrics, host:port; empty for nowhere. Plain HTTP, open to whoever can reach it."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """How logs are written: JSON, readable text, or text on a terminal only."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""

    @field_validator("fetch_allow")
    @classmethod
    def _allowed_places_can_be_read(cls, value: str) -> str:
        _allowed(value)
        return value

    @field_validator("webhook_retry_s")
    @classmethod
    def _pauses_can_be_read(cls, value: str) -> str:
        _pauses(value)
        return value

    @field_validator("float8")
    @classmethod
    def _only_the_fast_profile_rounds(cls, value: bool, others: ValidationInfo) -> bool:
        if value and others.data.get("profile") != "fast":
            raise ValueError("takes COGREEL_PROFILE=fast: 8-bit floats are not exact")
        return value

    def broker(self, role: str) -> BrokerSettings:
        """How to reach NATS; `role` is shown in the server's list of connections.

        Raises:
            ValueError: a certificate cannot be used.
        """
        identity = identity_files("COGREEL_NATS_", self.nats_certificate, self.nats_private_key)
        certificate, private_key = identity or (None, None)
        authorities = authorities_file("COGREEL_NATS_CA_FILE", self.nats_ca_file)
        return BrokerSettings(
            url=self.nats_url.get_secret_value(),
            name=f"cogreel {role}",
            tls=NatsTls(authorities, certificate, private_key, first=self.nats_tls_first),
            inbox_prefix=self.nats_inbox_prefix,
            replicas=self.nats_replicas,
            max_queue_bytes=self.queue_max_bytes,
            max_log_bytes=self.log_max_bytes,
            log_age_s=self.log_age_s,
        )

    def store(self) -> ObjectStoreSettings:
        """How to reach the object store."""
        return ObjectStoreSettings(
            endpoint=self.s3_endpoint,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key.get_secret_value(),
            bucket=self.s3_bucket,
            region=self.s3_region,
            secure=self.s3_secure,
            public_endpoint=self.s3_public_endpoint,
            public_secure=self.s3_public_secure,
        )

    def server(self) -> ServerSettings:
        """How to serve.

        Raises:
            ValueError: a certificate cannot be used.
        """
        identity = identity_files("COGREEL_", self.certificate, self.private_key)
        callers = authorities_file("COGREEL_CLIENT_CA_FILE", self.client_ca_file)
        if callers is not None and identity is None:
            raise ValueError("COGREEL_CLIENT_CA_FILE asks callers for certificates, and COGREEL_CERTIFICATE is missing")
        return ServerSettings(
            address=self.listen,
            tls=ServerTls(*identity, callers) if identity is not None else None,
            health_address=self.health_listen,
            scaler_address=self.scaler_listen,
            grace_s=self.shutdown_grace_s,
            max_waiting=self.queue_max_requests,
            queue=QueueServiceSettings(url_validity_s=self.url_validity_s, checkpoint_s=self.checkpoint_s),
            sweeper=SweeperSettings(retention_s=self.retention_s),
            uploads=UploadSettings(
                max_upload_bytes=self.max_upload_bytes,
                lifetime_s=self.upload_lifetime_s,
                url_validity_s=self.url_validity_s,
            ),
            fetching=self.fetching(),
            webhooks=WebhookSettings(retry_after_s=_pauses(self.webhook_retry_s), timeout_s=self.webhook_timeout_s),
        )

    def gateway(self) -> GatewaySettings:
        """How to serve HTTP.

        Raises:
            ValueError: a certificate cannot be used.
        """
        identity_files("COGREEL_GATEWAY_", self.gateway_certificate, self.gateway_private_key)
        shown = self.gateway_service_certificate, self.gateway_service_private_key
        identity_files("COGREEL_GATEWAY_SERVICE_", *shown)
        authorities_file("COGREEL_GATEWAY_SERVICE_CA_FILE", self.gateway_service_ca_file)
        origins = tuple(filter(None, (origin.strip() for origin in self.gateway_cors_origins.split(","))))
        return GatewaySettings(
            service=self.gateway_service,
            service_ca_file=self.gateway_service_ca_file,
            service_certificate=self.gateway_service_certificate,
            service_private_key=self.gateway_service_private_key,
            store=self.gateway_store,
            listen=self.gateway_listen,
            certificate=self.gateway_certificate,
            private_key=self.gateway_private_key,
            public_url=self.gateway_public_url,
            cors_origins=origins,
            max_body_bytes=self.gateway_max_body_bytes,
            secret=self.gateway_secret.get_secret_value().encode(),
            proxy_api_key=self.gateway_proxy_api_key.get_secret_value(),
            grace_s=self.shutdown_grace_s,
        )

    def fetching(self) -> FetchSettings:
        """What may be fetched from other servers."""
        return FetchSettings(
            self.fetch_from, _allowed(self.fetch_allow), total_s=self.fetch_timeout_s, hub_url=self.hub_url
        )

    def cards(self) -> dict[str, ModelCard]:
        """The card of each endpoint.

        Raises:
            CardError: a card cannot be read.
        """
        return {endpoint: load_card(name) for endpoint, name in self.endpoints.items()}

    def speed_profile(self) -> Profile:
        """How this machine's workers run their model."""
        fast = self.profile == "fast"
        return Profile(
            step_cache=self.step_cache if fast else 0.0,
            float8=self.float8,
            compiled=self.compile,
            attention=self.attention,
        )

    def device_list(self) -> list[str]:
        """The devices, in order."""
        return [device for device in (part.strip() for part in self.devices.split(",")) if device]

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for a process of ours to read."""
        return {f"COGREEL_{name.upper()}": _as_text(value) for name, value in self if value is not None}


def read_settings() -> Settings:
    """The settings of the environment, and of the files in COGREEL_SECRETS_DIR that are named like variables.

    What is in the environment goes before what is in a file.

    Raises:
        SettingsError: a variable cannot be read; the message names each, and what is wrong with it.
    """
    secrets_dir = os.environ.get(SECRETS_DIR)
    if secrets_dir is not None and not Path(secrets_dir).is_dir():
        raise SettingsError(f"{SECRETS_DIR}: {secrets_dir} is no directory")
    try:
        return Settings(_secrets_dir=secrets_dir)  # type: ignore[call-arg]  # its type shows fields only
    except OSError as error:
        raise SettingsError(f"{SECRETS_DIR}: {error}") from error
    except (ValidationError, PydanticSettingsError) as error:
        raise SettingsError(_explained(error)) from error


class SettingsError(ValueError):
    """A setting in the environment cannot be read."""


def _allowed(places: str) -> tuple[AllowedPlace, ...]:
    return tuple(AllowedPlace.parse(place) for place in places.split(",") if place.strip())


def _pauses(text: str) -> tuple[float, ...]:
    pauses = tuple(float(pause) for pause in text.split(",") if pause.strip())
    if not all(0 <= pause <= LONGEST_PAUSE_S for pause in pauses):
        raise ValueError(f"each pause must be from 0 to {LONGEST_PAUSE_S} seconds")
    return pauses


def _explained(error: ValidationError | PydanticSettingsError) -> str:
    if not isinstance(error, ValidationError):  # what should be JSON is none; the message names the field in its middle
        field = re.search(r'field "(\w+)"', str(error))
        return f"COGREEL_{field[1].upper()}: is not valid JSON" if field else str(error)
    found = (f"COGREEL_{'_'.join(str(part) for part in e['loc']).upper()}: {e['msg']}" for e in error.errors())
    return "; ".join(found)


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)
