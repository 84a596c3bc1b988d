"""Keeping the model libraries' own bars and warnings off standard error: the service has logs of its own."""

from __future__ import annotations

import diffusers
import transformers


def quieten_libraries() -> None:
    """Let diffusers and transformers log errors only and draw no progress bars, in the whole process.

    Call it before the first use of a class of diffusers: that imports much, with warnings about optional
    packages that CogVideoX has no need of.
    """
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
