"""Client for CogReel, the self-hosted text-to-video service.

`CogReel` and `AsyncCogReel` submit requests, follow them and fetch their videos; `cogreel.v1` holds the contract's
own messages and stubs. Names are loaded on first use, so that `cogreel --help` and a mere `import cogreel.v1` do
not wait for gRPC.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogreel.async_client import AsyncCogReel
    from cogreel.client import CogReel
    from cogreel.errors import (
        AlreadyFinishedError,
        AuthenticationError,
        CogReelError,
        CursorError,
        DownloadError,
        IdempotencyConflictError,
        InternalError,
        InvalidInputError,
        LimitExceededError,
        NotFinishedError,
        NotFoundError,
        PermissionDeniedError,
        RequestCancelledError,
        RequestFailedError,
        UnavailableError,
        UnimplementedError,
        UploadError,
        Violation,
    )
    from cogreel.notebook import Shell, VideoView, show
    from cogreel.progress import RichProgress, TqdmProgress
    from cogreel.updates import (
        LogTruncatedUpdate,
        LogUpdate,
        PositionUpdate,
        PreviewUpdate,
        ProgressUpdate,
        StateUpdate,
        Update,
        state_name,
    )

__all__ = [
    "AlreadyFinishedError",
    "AsyncCogReel",
    "AuthenticationError",
    "CogReel",
    "CogReelError",
    "CursorError",
    "DownloadError",
    "IdempotencyConflictError",
    "InternalError",
    "InvalidInputError",
    "LimitExceededError",
    "LogTruncatedUpdate",
    "LogUpdate",
    "NotFinishedError",
    "NotFoundError",
    "PermissionDeniedError",
    "PositionUpdate",
    "PreviewUpdate",
    "ProgressUpdate",
    "RequestCancelledError",
    "RequestFailedError",
    "RichProgress",
    "StateUpdate",
    "TqdmProgress",
    "UnavailableError",
    "UnimplementedError",
    "Update",
    "UploadError",
    "VideoView",
    "Violation",
    "show",
    "state_name",
]


_HOMES = {
    "AsyncCogReel": "cogreel.async_client",
    "CogReel": "cogreel.client",
    "RichProgress": "cogreel.progress",
    "TqdmProgress": "cogreel.progress",
    "VideoView": "cogreel.notebook",
    "Violation": "cogreel.errors",
    "show": "cogreel.notebook",
}


def _home_of(name: str) -> str:
    return _HOMES.get(name) or ("cogreel.errors" if name.endswith("Error") else "cogreel.updates")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'cogreel' has no attribute {name!r}")
    return getattr(import_module(_home_of(name)), name)


def load_ipython_extension(shell: "Shell") -> None:
    """`%load_ext cogreel`: let notebooks play results inline. Opening a client does the same."""
    from cogreel.notebook import play_results  # noqa: PLC0415 - as all names here

    play_results(shell)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
