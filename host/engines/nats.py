"""The embedded NATS server with JetStream, in which an acknowledged publish is on disk."""

import asyncio
import http.client
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from host.engines.engine import Engine

_CREDENTIALS_FILE = "credentials.json"
_HEALTH_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class NatsCluster:
    """Membership in a cluster of servers on this machine, which share the user and the password."""

    name: str
    port: int
    """Where this server listens for the others."""
    peer_ports: tuple[int, ...]
    """Where the servers of the cluster listen for each other; this one's own may be among them."""
    advertise: bool = True
    """Whether clients are told of the other servers; not where they are to reach them in another way."""


@dataclass(frozen=True)
class NatsConfig:
    """What a configuration file of `nats-server` is made from."""

    server_name: str
    """Unique in a cluster."""
    port: int
    """Where clients connect, on 127.0.0.1."""
    monitor_port: int
    """HTTP without authentication, on 127.0.0.1: health and statistics, no messages."""
    store_dir: Path
    """Where the server makes its folder `jetstream`."""
    user: str
    password: str = field(repr=False)
    cluster: NatsCluster | None = None


def nats_config_text(config: NatsConfig) -> str:
    """The configuration file, password included: write it with mode 0600.

    `sync_interval: always` makes an acknowledgement mean fsynced; the server's default is every two minutes.
    """
    authorization = f"authorization {{ user: {_quoted(config.user)}, password: {_quoted(config.password)} }}"
    lines = [
        f"server_name: {_quoted(config.server_name)}",
        f'listen: "127.0.0.1:{config.port}"',
        f'http: "127.0.0.1:{config.monitor_port}"',
        "max_payload: 8MB",
        authorization,
        "jetstream {",  # with the space: without it, the server takes the brace for a part of the name
        f"  store_dir: {_quoted(str(config.store_dir))}",
        "  sync_interval: always",
        "}",
    ]
    if config.cluster is not None:
        peers = (f"nats-route://{config.user}:{config.password}@127.0.0.1:{port}" for port in config.cluster.peer_ports)
        lines += [
            "cluster {",
            f"  name: {_quoted(config.cluster.name)}",
            f'  listen: "127.0.0.1:{config.cluster.port}"',
            f"  {authorization}",
            f"  routes: [{', '.join(map(_quoted, peers))}]",
            f"  no_advertise: {'false' if config.cluster.advertise else 'true'}",
            "}",
        ]
    return "\n".join(lines) + "\n"


class EmbeddedNats(Engine):
    """One `nats-server` with JetStream on loopback.

    Args:
        data_dir: where it keeps its streams, its credentials and its log.
        port: where clients connect; 0 chooses a free one at the first start, and the same later if free.
    """

    name: ClassVar[str] = "nats"
    program: ClassVar[str] = "nats-server"
    port_names: ClassVar[tuple[str, ...]] = ("client", "monitor")

    def __init__(self, data_dir: Path, *, port: int = 0) -> None:
        super().__init__(data_dir, fixed_ports={"client": port} if port else None)
        self._credentials: dict[str, str] = {}

    @property
    def port(self) -> int:
        """Where clients connect. The same for as long as the engine runs, restarts included."""
        self._running()
        return self._ports["client"]

    @property
    def url(self) -> str:
        """What a client connects to, user and password included: `nats://user:password@127.0.0.1:port`."""
        user, password = self._credentials["user"], self._credentials["password"]
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        credentials = self._folder.read_texts(_CREDENTIALS_FILE)
        if credentials is None:
            # Letters and digits only: they go into the URL as they are.
            credentials = {"user": "cogreel", "password": secrets.token_hex(24)}
            self._folder.write_texts(_CREDENTIALS_FILE, credentials)
        self._credentials = credentials

    def _command(self, program: Path) -> tuple[str, ...]:
        config = NatsConfig(
            server_name="cogreel-embedded",
            port=self._ports["client"],
            monitor_port=self._ports["monitor"],
            store_dir=self._folder.path,  # the server adds a folder "jetstream"
            user=self._credentials["user"],
            password=self._credentials["password"],
        )
        return (str(program), "-c", str(self._folder.write("nats-server.conf", nats_config_text(config))))

    async def _answers(self) -> bool:
        return await asyncio.to_thread(_is_healthy, self._ports["monitor"])


def _is_healthy(monitor_port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", monitor_port, timeout=_HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz?js-enabled-only=true")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _quoted(text: str) -> str:
    # The file's double-quoted strings know JSON's escapes for quotes, backslashes and line ends.
    return json.dumps(text, ensure_ascii=False)
