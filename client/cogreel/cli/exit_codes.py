"""The exit codes of the command, each with one meaning for scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command ends with. The description is what `cogreel --help` and the README print."""

    description: str

    def __new__(cls, value: int, description: str) -> ExitCode:
        """A code and its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    OK = 0, "done"
    UNEXPECTED = 1, "something unexpected, such as a fault of the service"
    INVALID_INPUT = 2, "wrong usage, a file that cannot be read, or input that the service refused"
    NOT_ALLOWED = 3, "no valid API key, or one without permission"
    NOT_FOUND = 4, "no such request, file or endpoint"
    REQUEST_FAILED = 5, "the request failed"
    REQUEST_CANCELLED = 6, "the request was cancelled"
    UNAVAILABLE = 7, "the service stayed out of reach"
    NOT_FINISHED = 8, "there is no result yet"
    ALREADY_FINISHED = 9, "the request had ended before it could be cancelled"
    LIMIT_EXCEEDED = 10, "the queue is full, or a limit is reached"
    CONFLICT = 11, "the idempotency key was used for another submission"
    CURSOR_INVALID = 12, "the cursor is of no use"
    FILE_PROBLEM = 13, "a video could not be fetched or written, or a file not uploaded"
    NOT_SERVED = 14, "the service does not serve this call or option"
    INTERRUPTED = 130, "Ctrl-C; a submitted request goes on"
