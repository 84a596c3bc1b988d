"""The embedded engines: a real NATS server and a real S3 server as child processes of one machine's own.

Each is an async context manager over a data directory: it starts the server on loopback with generated
credentials, keeps it running, and stops it. What it stored is there at the next start on the same directory.
"""

from host.engines.engine import Engine
from host.engines.errors import DataDirInUseError, EngineMissingError, PortInUseError
from host.engines.nats import EmbeddedNats, NatsCluster, NatsConfig, nats_config_text
from host.engines.s3 import EmbeddedS3

__all__ = [
    "DataDirInUseError",
    "EmbeddedNats",
    "EmbeddedS3",
    "Engine",
    "EngineMissingError",
    "NatsCluster",
    "NatsConfig",
    "PortInUseError",
    "nats_config_text",
]
