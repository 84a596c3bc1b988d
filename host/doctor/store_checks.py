"""Whether the S3 server can be reached, lets us in, keeps what is put, and shows it to callers."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import urllib3
from cogreel.cli.dialling import dial
from cogreel.cli.findings import Finding, ok, problem, warning
from minio.error import S3Error

from files import ObjectNotFoundError, ObjectStore, StoreUnavailableError
from host.doctor.clocks import check_clock
from host.settings import Settings
from jobs.broker import ApiError, Broker
from jobs.cursor import created_ns
from jobs.errors import BrokerUnavailableError
from jobs.streams import stream_state
from jobs.subjects import REQ
from service.bucket_owner import BUCKET_MARK

ANSWER_WITHIN_S = 4.0
PROBE_PREFIX = "doctor/"
S3_WHY = "Videos are kept in S3: no request can complete without it."
_ENDPOINT_FORM = "Write COGREEL_S3_ENDPOINT as host:port, without http://; COGREEL_S3_SECURE says whether it is TLS."
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

# What S3 calls its refusals: what that means here, and what to do.
_REFUSALS: dict[str, tuple[str, str]] = {
    "InvalidAccessKeyId": ("the server does not know the access key", "Correct COGREEL_S3_ACCESS_KEY."),
    "SignatureDoesNotMatch": (
        "the secret key does not belong to the access key",
        "Correct COGREEL_S3_SECRET_KEY: is it whole, without quotes? A proxy must pass the Host header on.",
    ),
    "RequestTimeTooSkewed": ("the clock here differs too much from the server's", "Set the clock, by NTP or chrony."),
    "AuthorizationHeaderMalformed": ("the region is not the server's", "Correct COGREEL_S3_REGION."),
    "AccessDenied": (
        "the key may not do this",
        "Allow it to list, get, put and delete objects of the bucket, and to make the bucket if it is not there.",
    ),
}


async def check_store(settings: Settings) -> list[Finding]:
    """The server, its clock, the key, the bucket, writing, and the way of callers to what was written."""
    host, port, malformed = _address(settings.s3_endpoint, secure=settings.s3_secure)
    if malformed:
        return [problem("s3", malformed, S3_WHY, _ENDPOINT_FORM)]
    if not settings.s3_access_key or not settings.s3_secret_key.get_secret_value():
        remedy = "Set COGREEL_S3_ACCESS_KEY and COGREEL_S3_SECRET_KEY."
        return [problem("s3", "there is no access key or no secret key", S3_WHY, remedy)]
    unreachable = await asyncio.to_thread(dial, host, port)
    if unreachable is not None:
        return [problem("s3", unreachable.found, S3_WHY, f"{unreachable.remedy} {_ENDPOINT_FORM}")]
    greeting = await asyncio.to_thread(_greet, settings)
    if any(finding.why for finding in greeting if finding.check == "s3"):
        return greeting
    return [*greeting, *await _check_bucket(settings)]


async def check_bucket_owner(settings: Settings) -> list[Finding]:
    """Whether the bucket belongs to this queue: the sweeper marks it with the creation time of the queue's stream."""
    try:
        store = ObjectStore(settings.store())
        async with Broker(settings.broker("doctor")) as broker:
            _, _, created = await stream_state(broker, REQ)
        mark = await store.read(BUCKET_MARK)
    except (ApiError, BrokerUnavailableError, ObjectNotFoundError, S3Error, StoreUnavailableError, ValueError):
        return []  # nothing to compare yet, or another check says what is wrong
    if mark == str(created_ns(created)).encode():
        return []
    return [
        problem(
            "s3 bucket",
            f"the bucket {settings.s3_bucket} is marked as that of another queue",
            "Seen from this queue, all its videos would be orphans; so the sweeper removes none, and the bucket grows.",
            f"Use another COGREEL_S3_BUCKET; or, if the queue was made anew and these videos may go, remove the "
            f"object `{BUCKET_MARK}` from this one.",
        )
    ]


def _address(endpoint: str, *, secure: bool) -> tuple[str, int, str]:
    """Host and port; or else what is wrong with the form."""
    if "://" in endpoint or "/" in endpoint:
        return "", 0, f"COGREEL_S3_ENDPOINT is {endpoint!r}, which is more than host:port"
    try:
        parts = urlsplit(f"//{endpoint}")
        port = parts.port or (443 if secure else 80)
    except ValueError:
        return "", 0, f"COGREEL_S3_ENDPOINT is {endpoint!r}, which has no valid port"
    return (parts.hostname, port, "") if parts.hostname else ("", 0, "COGREEL_S3_ENDPOINT names no host")


def _greet(settings: Settings) -> list[Finding]:
    """Ask for anything without a key: an answer of any kind shows the protocol and the server's clock."""
    endpoint, secure = settings.s3_endpoint, settings.s3_secure
    url = f"{'https' if secure else 'http'}://{endpoint}/"
    try:
        answer = urllib3.request("GET", url, timeout=ANSWER_WITHIN_S, retries=False, redirect=False)
    except urllib3.exceptions.SSLError as error:
        if "CERTIFICATE" in str(error).upper():
            remedy = "Use a certificate for this name that this machine trusts (SSL_CERT_FILE for a CA of your own)."
            return [problem("s3", f"the certificate of {endpoint} is not trusted: {error}", S3_WHY, remedy)]
        remedy = "Set COGREEL_S3_SECURE=false, or use the server's port for TLS."
        return [problem("s3", f"{endpoint} does not speak TLS, but COGREEL_S3_SECURE is true", S3_WHY, remedy)]
    except urllib3.exceptions.HTTPError as error:
        remedy = f"If it speaks TLS, set COGREEL_S3_SECURE=true. {_ENDPOINT_FORM}"
        return [problem("s3", f"what listens at {endpoint} does not speak HTTP: {error}", S3_WHY, remedy)]
    if b"HTTPS" in answer.data and not secure:
        return [problem("s3", f"{endpoint} wants TLS", S3_WHY, "Set COGREEL_S3_SECURE=true.")]
    ours = datetime.now(UTC)
    found = [ok("s3", f"answers at {endpoint}")]
    if "Date" in answer.headers:
        theirs = parsedate_to_datetime(answer.headers["Date"])
        found.append(check_clock("s3 clock", "the S3 server", theirs.astimezone(UTC), ours))
    return found


async def _check_bucket(settings: Settings) -> list[Finding]:
    bucket = settings.s3_bucket
    key = f"{PROBE_PREFIX}{secrets.token_hex(8)}"
    content = secrets.token_hex(32).encode()
    try:
        store = ObjectStore(settings.store())
        await store.list_keys(PROBE_PREFIX)
        await store.put_bytes(key, content, content_type="text/plain")
        shown = await _check_public(settings, store.presign_get(key, 60), content)
        await store.remove(key)
    except S3Error as error:
        if error.code == "NoSuchBucket" and not _BUCKET_NAME.fullmatch(bucket):
            remedy = "S3 takes 3 to 63 small letters, digits, dots and hyphens: correct COGREEL_S3_BUCKET."
            return [problem("s3 bucket", f"{bucket!r} cannot be the name of a bucket", S3_WHY, remedy)]
        if error.code == "NoSuchBucket":
            return [
                warning(
                    "s3 bucket",
                    f"there is no bucket {bucket} yet",
                    "The first worker makes it, if its key may.",
                    "If there should be one: correct COGREEL_S3_BUCKET.",
                )
            ]
        meaning, remedy = _REFUSALS.get(error.code or "", (error.message or "", "See the log of the S3 server."))
        return [problem("s3 bucket", f"{bucket}: {meaning} ({error.code})", S3_WHY, remedy)]
    except (StoreUnavailableError, ValueError) as error:
        return [problem("s3 bucket", f"{bucket}: {error}", S3_WHY, "See the log of the S3 server.")]
    return [ok("s3 bucket", f"{bucket} can be listed, written to and cleaned up"), *shown]


async def _check_public(settings: Settings, url: str, content: bytes) -> list[Finding]:
    """Fetch a presigned URL, as callers do."""
    public = settings.s3_public_endpoint
    host = urlsplit(url).hostname or ""
    if public is None and _is_loopback(host) and not _is_loopback(_host_of(settings.listen)):
        return [
            warning(
                "s3 public",
                f"the service can be reached from elsewhere, but the URLs of videos name {host}",
                "Callers on other machines get links that lead to their own machine.",
                "Set COGREEL_S3_PUBLIC_ENDPOINT, and COGREEL_S3_PUBLIC_SECURE, to how callers reach S3.",
            )
        ]
    where = public or settings.s3_endpoint
    why = "Callers fetch their videos from there, by URLs that the service signs."
    try:
        answer = await asyncio.to_thread(
            urllib3.request, "GET", url, timeout=ANSWER_WITHIN_S, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        return [
            warning(
                "s3 public",
                f"{where} cannot be reached from here: {_shortened(error)}",
                why,
                "If callers cannot reach it either: correct COGREEL_S3_PUBLIC_ENDPOINT (host:port, no http://) and "
                "COGREEL_S3_PUBLIC_SECURE.",
            )
        ]
    if answer.status == 200 and answer.data == content:
        return [ok("s3 public", f"a presigned URL at {where} gives what was stored")]
    proxy = b"SignatureDoesNotMatch" in answer.data
    return [
        problem(
            "s3 public",
            f"a presigned URL at {where} gives {'a refused signature' if proxy else 'something else'} "
            f"(status {answer.status})",
            why,
            "The proxy there must pass the Host header on: it is signed."
            if proxy
            else "COGREEL_S3_PUBLIC_ENDPOINT leads to another server: correct it, or what it forwards to.",
        )
    ]


def _host_of(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shortened(error: Exception) -> str:
    """Without the object that urllib3 puts before the message."""
    return str(error).rpartition(">: ")[2] or type(error).__name__
