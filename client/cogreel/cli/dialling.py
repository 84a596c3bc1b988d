"""Trying whether a TCP connection comes about, and saying in words why it does not."""

from __future__ import annotations

import socket
from dataclasses import dataclass

DIAL_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Why a server cannot be reached: what was found, and what to do."""

    found: str
    remedy: str


def dial(host: str, port: int, *, timeout_s: float = DIAL_WITHIN_S) -> Unreachable | None:
    """Connect and hang up again; None if that worked."""
    where = f"{host}:{port}"
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except socket.gaierror as error:
        return Unreachable(
            f"the name {host} cannot be resolved ({error.strerror})",
            "Is it spelt right? Does this machine use the right DNS server; is a VPN missing?",
        )
    except ConnectionRefusedError:
        return Unreachable(
            f"nothing listens at {where} (connection refused)",
            "Is the server running, and is the port right?",
        )
    except TimeoutError:
        return Unreachable(
            f"{where} did not answer within {timeout_s:g} s",
            "Is the address right? A firewall or a network policy may drop the packets.",
        )
    except OSError as error:
        return Unreachable(f"{where} cannot be reached ({error.strerror or error})", "Is the address right?")
    return None
