"""Who is calling, and what they may: the API key in the call's metadata, looked up for every call, so that a revoked
key stops at once, and the services that its role opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

import grpc
from cogreel.v1.admin_pb2 import ROLE_ADMIN, ROLE_CALLER, ROLE_UNSPECIFIED, ApiKey, Role
from cogreel.v1.errors_pb2 import ErrorReason
from google.protobuf.message import Message

from jobs.keys import KeyDirectory, KeyFormError, KeyRefusedError, role_name
from service.errors import CallError

_SCHEMES = ("bearer", "key")  # `Key` is the scheme of the hosted API
_ANY_ROLE = frozenset({ROLE_UNSPECIFIED, ROLE_CALLER, ROLE_ADMIN})
_ALLOWED: Mapping[str, frozenset[Role.ValueType]] = {
    "cogreel.v1.QueueService": _ANY_ROLE,
    "cogreel.v1.StorageService": _ANY_ROLE,
    "cogreel.v1.CatalogService": _ANY_ROLE,
    "cogreel.v1.AdminService": frozenset({ROLE_ADMIN}),
}
"""The roles that may call a service. What does not stand here is closed to all."""

OPEN_TO_ALL = frozenset({"/cogreel.v1.QueueService/GetWebhookKeys"})
"""The methods that need no key."""

caller: ContextVar[ApiKey] = ContextVar("caller")
"""The key of the call that is being served."""


def current_tenant() -> str:
    """The tenant of the call that is being served."""
    return caller.get().tenant


async def authenticate(context: grpc.aio.ServicerContext[Message, Message], directory: KeyDirectory) -> ApiKey:
    """The key in the metadata `authorization: Bearer <API key>`.

    Raises:
        CallError: it is missing, malformed, unknown or revoked.
        BrokerUnavailableError: it cannot be looked up.
    """
    metadata = {str(name).lower(): value for name, value in context.invocation_metadata() or ()}
    given = metadata.get("authorization")
    if given is None:
        raise _refused("This call needs an API key, in the metadata `authorization: Bearer <API key>`.")
    text = given if isinstance(given, str) else given.decode("latin-1")
    scheme, _, credentials = text.strip().partition(" ")
    if scheme.lower() not in _SCHEMES:
        raise _refused("The metadata `authorization` must have the form `Bearer <API key>`.")
    try:
        return await directory.authenticate(credentials.strip())
    except KeyFormError as error:
        raise _refused(f"The API key is malformed: {error}.") from error
    except KeyRefusedError as error:
        raise _refused("The API key is unknown or revoked.") from error


def authorize(key: ApiKey, method: str) -> None:
    """Check that a key's role opens a method, given by its full name, `/package.Service/Method`.

    Raises:
        CallError: it does not.
    """
    service = method.split("/")[1]
    if key.role in _ALLOWED.get(service, frozenset()):
        return
    role = role_name(key.role)
    raise CallError(
        ErrorReason.ERROR_REASON_PERMISSION_DENIED,
        f"{service.rpartition('.')[2]} is not open to API keys with the role {role}. An operator can make one with "
        "the role admin.",
        metadata={"role": role},
    )


def _refused(message: str) -> CallError:
    return CallError(ErrorReason.ERROR_REASON_UNAUTHENTICATED, message)
