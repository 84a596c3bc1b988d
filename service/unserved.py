"""The services of the contract that this version types and does not serve: every call says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import grpc
from cogreel.v1 import admin_pb2_grpc
from google.protobuf.message import Message

from service.interceptor import unimplemented

_Servicer = TypeVar("_Servicer")


def _refusal(name: str) -> Callable[[object, Message, object], Awaitable[NoReturn]]:
    async def refuse(_servicer: object, _request: Message, _context: object) -> NoReturn:
        raise unimplemented(name)

    return refuse


def _unserved(servicer: type[_Servicer], service: str) -> _Servicer:
    methods = [name for name in vars(servicer) if not name.startswith("_")]
    refusing = type(f"Unserved{service}", (servicer,), {name: _refusal(f"{service}.{name}") for name in methods})
    instance: _Servicer = refusing()
    return instance


def add_unserved(server: grpc.aio.Server) -> None:
    """Register AdminService, each call of which fails with UNIMPLEMENTED."""
    admin = _unserved(admin_pb2_grpc.AdminServiceServicer, "AdminService")  # type: ignore[type-abstract]  # made concrete there
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
