"""How an attempt that did not complete ends: the one place where exceptions become outcomes."""

from __future__ import annotations

import secrets

import structlog
from cogreel.v1 import queue_pb2
from cogreel.v1.queue_pb2 import Failure

from files import StoreUnavailableError
from inference.inputs import InputUnavailableError
from inference.model import CancelledError, DeviceError, InputError
from inference.observation import note_outcome
from jobs.lease import Lease
from jobs.record_pb2 import State

_log = structlog.get_logger(__name__)


async def end_attempt(lease: Lease, error: Exception) -> None:
    """End the attempt of `lease` by what went wrong: the request fails, is handed back, or is another's by now."""
    attempt = lease.record.attempt
    if lease.record.state != State.STATE_RUNNING:
        _log.error("attempt.fault_after_its_end", exc_info=error)
        return
    match error:
        case CancelledError() if lease.lost.is_set():
            note_outcome("stopped")
            _log.info("attempt.stopped")
        case CancelledError():
            note_outcome("handed_back")
            _log.info("attempt.handed_back")
            await lease.release()
        case InputError():
            reason = queue_pb2.FAILURE_REASON_INVALID_INPUT
            note_outcome("failed", "INVALID_INPUT")
            await lease.fail(Failure(reason=reason, message=str(error), field=error.field, attempt=attempt))
        case InputUnavailableError():
            await _retry(lease, queue_pb2.FAILURE_REASON_INPUT_UNAVAILABLE, str(error), field=error.field)
        case DeviceError():
            await _retry(lease, queue_pb2.FAILURE_REASON_DEVICE, f"the device failed: {error}")
        case StoreUnavailableError():
            await _retry(lease, queue_pb2.FAILURE_REASON_STORE, "the object store stayed out of reach")
        case _:
            incident = secrets.token_hex(6)
            _log.error("attempt.fault", incident=incident, exc_info=error)
            message = f"a fault of the worker; its log has more under incident {incident}"
            await _retry(lease, queue_pb2.FAILURE_REASON_INTERNAL, message)


async def _retry(lease: Lease, reason: queue_pb2.FailureReason.ValueType, message: str, *, field: str = "") -> None:
    note_outcome("failed", queue_pb2.FailureReason.Name(reason).removeprefix("FAILURE_REASON_"))
    _log.warning("attempt.failed", cause=message)
    lease.log.line(message, queue_pb2.LOG_LEVEL_ERROR)
    await lease.release(Failure(reason=reason, message=message, field=field, attempt=lease.record.attempt))
