"""Which installation an operator's command is about: that of the environment, or a running `cogreeld up`."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from host.engines.s3 import stored_credentials
from host.settings import Settings, read_settings

DEFAULT_DATA_DIR = Path("~/.local/share/cogreel")
"""Where `cogreeld up` keeps everything."""
READY_FILE = "ready.json"
"""What a running `cogreeld up` keeps in its data directory: addresses, key and pids."""
THREE_WAYS = (
    "Start `cogreeld up`; or name the ready file of one with another data directory, --ready-file DIR/ready.json; or "
    "set COGREEL_NATS_URL (and COGREEL_S3_*) to those of a cluster."
)
_NATS_PORT = 4222
_PROBE_WITHIN_S = 1.0


class NothingRunsError(ValueError):
    """There is nothing to talk to where the command was told to look."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a ready file says of a `cogreeld up`."""

    nats: str
    s3: str
    grpc: str
    data_dir: Path
    pids: Mapping[str, int]

    @property
    def runs(self) -> bool:
        """Whether its process is there; one that was killed leaves its ready file behind."""
        return Path(f"/proc/{self.pids['up']}").exists()


def read_ready(path: Path) -> Ready:
    """What a ready file says.

    Raises:
        NothingRunsError: there is no such file.
        ValueError: it is not a ready file.
        OSError: it cannot be read.
    """
    try:
        ready = json.loads(path.read_text(encoding="utf-8"))
        pids = {"up": int(ready["pids"]["up"])} | {str(role): int(pid) for role, pid in ready["pids"].items()}
        return Ready(str(ready["nats"]), str(ready["s3"]), str(ready["grpc"]), Path(ready["data_dir"]), pids)
    except FileNotFoundError as error:
        raise NothingRunsError(
            f"there is no {path}: a `cogreeld up` has its ready file from when it is ready until it stops, "
            "so that one does not run"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not the ready file of a `cogreeld up`; that is what its --ready-file names"
        ) from error


def ready_of_running(data_dir: Path) -> Path | None:
    """The ready file of the `cogreeld up` that runs on a data directory, if one does.

    Raises:
        ValueError: what is there is not a ready file.
        OSError: it cannot be read.
    """
    path = data_dir.expanduser() / READY_FILE
    try:
        return path if read_ready(path).runs else None
    except (NothingRunsError, NotADirectoryError, PermissionError):
        return None


def names_engines(settings: Settings) -> bool:
    """Whether the environment says which NATS or S3 to use."""
    return bool(settings.model_fields_set & {"nats_url", "s3_endpoint"})


def settings_of(ready_file: Path | None) -> Settings:
    """The settings by which to reach NATS and S3.

    Those of the ready file; else those of the environment, if it names an engine; else those of the `cogreeld up` that
    runs on the default data directory; else the defaults.

    Raises:
        NothingRunsError: there is nothing to talk to.
        ValueError: a variable of the environment cannot be read, or the file is not a ready file.
        OSError: the ready file cannot be read.
    """
    settings = read_settings()
    if ready_file is None and not names_engines(settings):
        ready_file = ready_of_running(DEFAULT_DATA_DIR)
    if ready_file is not None:
        settings = with_engines_of(settings, ready_file)
    if _refused(settings.nats_url.get_secret_value()):
        raise NothingRunsError(_nothing_runs(settings, ready_file))
    return settings


def with_engines_of(settings: Settings, ready_file: Path) -> Settings:
    """The settings with the engines of a ready file; raises as `read_ready`, and ValueError if it was killed."""
    ready = read_ready(ready_file)
    if not ready.runs:
        raise NothingRunsError(
            f"the `cogreeld up` of {ready_file} does not run: its process {ready.pids['up']} is gone, and was killed "
            "before it could remove the file"
        )
    return with_engines(settings, ready)


def with_engines(settings: Settings, ready: Ready) -> Settings:
    """The settings with the engines of a `cogreeld up`, and the credentials from its data directory.

    Raises:
        ValueError: the data directory has none.
        OSError: the data directory cannot be read.
    """
    access_key, secret_key = stored_credentials(ready.data_dir)
    return settings.model_copy(
        update={
            "nats_url": SecretStr(ready.nats),
            "s3_endpoint": ready.s3.removeprefix("http://"),
            "s3_access_key": access_key,
            "s3_secret_key": SecretStr(secret_key),
            "s3_secure": False,
        }
    )


def pasted(command: str, ready_file: Path | None) -> str:
    """A `cogreeld` command to suggest, which speaks to the same installation as the present one."""
    return (
        f"cogreeld {command}"
        if ready_file is None
        else f"cogreeld {command} --ready-file {shlex.quote(str(ready_file))}"
    )


def _nothing_runs(settings: Settings, ready_file: Path | None) -> str:
    servers = settings.nats_url.get_secret_value().split(",")
    where = ", ".join("{}:{}".format(*_address(server)) for server in servers)  # without the password
    if ready_file is not None:
        return f"the `cogreeld up` of {ready_file} does not run: its NATS at {where} refuses connections"
    if names_engines(settings):
        return f"nothing listens at {where}. Is NATS running? COGREEL_NATS_URL says where it is"
    killed = " (the last one was killed)" if (DEFAULT_DATA_DIR.expanduser() / READY_FILE).exists() else ""
    return f"no `cogreeld up` runs on {DEFAULT_DATA_DIR}{killed}, and nothing listens at {where}. {THREE_WAYS}"


def _refused(nats_url: str) -> bool:
    """Whether connections are refused at every address: nobody has to wait for a broker that is not there."""
    for server in nats_url.split(","):
        try:
            with socket.create_connection(_address(server), timeout=_PROBE_WITHIN_S):
                return False
        except ConnectionRefusedError:
            continue
        except (OSError, ValueError):  # whoever connects in earnest tells
            return False
    return True


def _address(server: str) -> tuple[str, int]:
    url = urlsplit(server.strip() if "://" in server else f"nats://{server.strip()}")
    return url.hostname or "", url.port or _NATS_PORT
