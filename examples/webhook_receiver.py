"""Receives webhooks: checks signature and time of each, and drops repetitions.

    pip install cryptography
    python examples/webhook_receiver.py 8900          # then: cogreel submit … --webhook-url http://this-host:8900/

A service calls public addresses only, unless its operator allows others (COGREEL_FETCH_ALLOW).
"""

import base64
import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from cogreel.v1 import queue_pb2, queue_pb2_grpc
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_S = 300  # a webhook that is older was recorded by somebody and sent again
LARGEST_BODY = 1024 * 1024
SEEN = "webhooks.sqlite"


class Keys:
    """The service's public keys, which anybody may ask for; asked for anew each hour, since they rotate."""

    def __init__(self, address: str) -> None:
        self._stub = queue_pb2_grpc.QueueServiceStub(grpc.insecure_channel(address))
        self._known: list[Ed25519PublicKey] = []
        self._until = 0.0

    def current(self) -> list[Ed25519PublicKey]:
        """The keys."""
        if time.monotonic() > self._until:
            answer = self._stub.GetWebhookKeys(queue_pb2.GetWebhookKeysRequest(), timeout=10)
            self._known = [Ed25519PublicKey.from_public_bytes(key.public_key) for key in answer.keys]
            self._until = time.monotonic() + answer.max_age.seconds
        return self._known


def is_signed(headers: dict[str, str], body: bytes, keys: list[Ed25519PublicKey]) -> bool:
    """Whether a webhook is of the service and of now, as Standard Webhooks has it."""
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    signed = f"{headers.get('webhook-id')}.{timestamp}.".encode() + body
    for signature in headers.get("webhook-signature", "").split():
        version, _, encoded = signature.partition(",")
        for key in keys if version == "v1a" else []:
            try:
                key.verify(base64.b64decode(encoded), signed)
            except (InvalidSignature, ValueError):
                continue
            return True
    return False


def take_once(webhook_id: str, told: dict[str, Any]) -> None:
    """Handle a webhook, unless it was before: it comes again when an answer of ours got lost.

    It is noted in the same transaction, so one whose handling fails is not noted, answered with 500, and sent again.
    """
    with closing(sqlite3.connect(SEEN)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY)")
        if database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (webhook_id,)).rowcount == 1:
            handle(told)


def handle(told: dict[str, Any]) -> None:
    """What a program of yours would do: put it into its own queue, for instance."""
    if told["status"] == "OK":
        print(f"{told['request_id']}: {told['payload']['video']['file_size']} bytes", flush=True)
    else:
        print(f"{told['request_id']}: {told['error']}", flush=True)


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what it has taken, now or before, and 401 to what is not the service's."""

    keys = Keys(os.environ.get("COGREEL_ADDRESS", "127.0.0.1:50051"))
    timeout = 10

    def do_POST(self) -> None:
        """Take a webhook."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY:
            self.send_error(413)
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not is_signed(headers, body, self.keys.current()):
            self.send_error(401, "not signed by the service, or not now")
            return
        try:
            take_once(headers["webhook-id"], json.loads(body))
        except Exception:
            self.send_error(500)
            raise
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each call."""


def main() -> None:
    """Listen until Ctrl-C."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8900
    with ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


try:
    main()
except KeyboardInterrupt:
    sys.exit("stopped")
