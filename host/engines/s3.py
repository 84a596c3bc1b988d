"""The embedded S3 server: SeaweedFS's `weed mini`, everything on loopback and closed but for S3 itself."""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import urllib3
from minio import Minio
from minio.error import MinioException

from host.engines.engine import Engine
from host.engines.folder import EngineFolder

_CREDENTIALS_FILE = "credentials.json"
_IDENTITIES_FILE = "identities.json"
_REQUEST_TIMEOUT_S = 2.0
# `weed` gives its administration service no port flag that its own workers would follow.
_ADMIN_GRPC_OFFSET = 10_000
# With this limit the server stays at about 145 MB; without one it grows with what it has served.
_GO_MEMORY_LIMIT = "200MiB"


def stored_credentials(data_dir: Path) -> tuple[str, str]:
    """The access key and the secret key of the server on a data directory, for other processes of its owner.

    Raises:
        ValueError: no server has been started there.
    """
    credentials = EngineFolder(data_dir / EmbeddedS3.name).read_texts(_CREDENTIALS_FILE)
    if credentials is None:
        raise ValueError(f"{data_dir} has no credentials of an S3 server")
    return credentials["access_key"], credentials["secret_key"]


class EmbeddedS3(Engine):
    """One SeaweedFS server on loopback, speaking S3 over HTTP.

    The master, volume and filer services behind S3 have HTTP ports of their own, which know no users. They
    are closed: their functions are off, and what stays up for S3's own use wants tokens signed with keys that
    only this process and the server have. Their gRPC ports remain open to other processes of this machine.

    Args:
        data_dir: where it keeps the objects, its credentials and its log.
        allowed_origins: origins (`http://localhost:8080`) whose scripts in a browser may read answers (CORS).
    """

    name: ClassVar[str] = "s3"
    program: ClassVar[str] = "weed"
    port_names: ClassVar[tuple[str, ...]] = (
        *("s3", "s3_grpc", "master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc"),
        "admin",
    )
    companion_ports: ClassVar[Mapping[str, int]] = {"admin": _ADMIN_GRPC_OFFSET}
    # It stops in about 1 s, but in 11 s while its maintenance runs, which is some 15 s at a time. S3 itself is
    # closed at once in any case, and a kill loses nothing that it acknowledged.
    stop_timeout_s: ClassVar[float] = 3.0
    # Its Unix sockets, for which it has no option; it replaces them, but does not remove all.
    leftovers: ClassVar[str | None] = "/tmp/seaweedfs-*-{port}.sock"  # noqa: S108

    def __init__(self, data_dir: Path, *, allowed_origins: Sequence[str] = ()) -> None:
        super().__init__(data_dir)
        self._allowed_origins = tuple(allowed_origins)
        self._credentials: dict[str, str] = {}
        self._signing_keys = {
            variable: secrets.token_hex(32)
            for variable in (
                "WEED_JWT_SIGNING_KEY",
                "WEED_JWT_SIGNING_READ_KEY",
                "WEED_JWT_FILER_SIGNING_KEY",
                "WEED_JWT_FILER_SIGNING_READ_KEY",
            )
        }

    @property
    def endpoint(self) -> str:
        """`127.0.0.1:port`, plain HTTP. The same for as long as the engine runs, restarts included."""
        self._running()
        return f"127.0.0.1:{self._ports['s3']}"

    @property
    def access_key(self) -> str:
        """The access key of the only user, who may do everything."""
        self._running()
        return self._credentials["access_key"]

    @property
    def secret_key(self) -> str:
        """The secret that belongs to `access_key`."""
        self._running()
        return self._credentials["secret_key"]

    def _prepare(self) -> None:
        credentials = self._folder.read_texts(_CREDENTIALS_FILE)
        if credentials is None:
            credentials = {
                "access_key": secrets.token_hex(10).upper(),
                "secret_key": secrets.token_urlsafe(30),
            }
            self._folder.write_texts(_CREDENTIALS_FILE, credentials)
        self._credentials = credentials
        identity = {
            "name": "cogreel",
            "credentials": [{"accessKey": credentials["access_key"], "secretKey": credentials["secret_key"]}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        self._folder.write(_IDENTITIES_FILE, json.dumps({"identities": [identity]}, indent=2) + "\n")
        (self._folder.path / "data").mkdir(mode=0o700, exist_ok=True)

    def _command(self, program: Path) -> tuple[str, ...]:
        ports = self._ports
        return (
            str(program),
            "-logtostderr=true",
            "mini",
            f"-dir={self._folder.path / 'data'}",
            f"-s3.config={self._folder.path / _IDENTITIES_FILE}",
            f"-s3.allowedOrigins={','.join(self._allowed_origins)}",
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-s3.port={ports['s3']}", f"-s3.port.grpc={ports['s3_grpc']}"),
            *(f"-master.port={ports['master']}", f"-master.port.grpc={ports['master_grpc']}"),
            *(f"-volume.port={ports['volume']}", f"-volume.port.grpc={ports['volume_grpc']}"),
            *(f"-filer.port={ports['filer']}", f"-filer.port.grpc={ports['filer_grpc']}"),
            f"-admin.port={ports['admin']}",
            *("-master.telemetry=false", "-admin.ui=false", "-webdav=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            "-disableHttp",
            # A stop waits for the idle connections between the services: 30 s with the default.
            *("-idleTimeout=1", "-volume.preStopSeconds=0"),
        )

    def _environment(self) -> dict[str, str]:
        # HOME, since it also looks for configuration files there.
        return {"GOMEMLIMIT": _GO_MEMORY_LIMIT, "HOME": str(self._folder.path), **self._signing_keys}

    async def _answers(self) -> bool:
        return await asyncio.to_thread(self._lists_buckets)

    def _lists_buckets(self) -> bool:
        client = Minio(
            f"127.0.0.1:{self._ports['s3']}",
            access_key=self._credentials["access_key"],
            secret_key=self._credentials["secret_key"],
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(timeout=_REQUEST_TIMEOUT_S, retries=False),
        )
        try:
            client.list_buckets()
        except (MinioException, urllib3.exceptions.HTTPError):
            return False
        return True
