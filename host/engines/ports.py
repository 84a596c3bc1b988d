"""Choosing TCP ports on loopback for programs that clients must find again after a restart."""

import errno
import random
import socket
from collections.abc import Mapping, Sequence

# Below Linux's default range for outgoing connections (32768 and up), even with 10,000 added: no client's
# connection takes the port of an engine while that restarts.
_CANDIDATES = range(10_240, 22_768)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: connections lately closed do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def choose_ports(names: Sequence[str], companions: Mapping[str, int] | None = None) -> dict[str, int]:
    """Choose a free port for each name, all different.

    Args:
        names: what the ports are for.
        companions: offset, at most 10,000, of a second port that the program takes with the named one.

    Raises:
        RuntimeError: there are not enough free ports.
    """
    offsets = companions or {}
    chosen: dict[str, int] = {}
    candidates = iter(random.sample(_CANDIDATES, len(_CANDIDATES)))
    for name in names:
        chosen[name] = next(
            (port for port in candidates if is_free(port) and (name not in offsets or is_free(port + offsets[name]))),
            0,
        )
        if not chosen[name]:
            raise RuntimeError(f"no free port on 127.0.0.1 for {name}")
    return chosen
