"""An HTTP server on loopback that serves one video, after the failures that it was told to begin with."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self

from cogreel.v1.video_pb2 import File, ImageSize, Timings, VideoOutput
from google.protobuf.duration_pb2 import Duration


@dataclass
class FileServer:
    """Serves while it is entered; `failures` are HTTP statuses to answer first, or 0 to break off in the middle."""

    content: bytes = b"\x00\x00\x00\x18ftypmp42" * 50_000
    failures: deque[int] = field(default_factory=deque)
    hits: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where the video is."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}/video.mp4"

    def output(self) -> VideoOutput:
        """A result that names the video."""
        return VideoOutput(
            video=File(url=self.url, content_type="video/mp4", file_name="video.mp4", file_size=len(self.content)),
            seed=42,
            prompt="a garden",
            size=ImageSize(width=720, height=480),
            native_size=ImageSize(width=720, height=480),
            frames=98,
            fps=16,
            sha256=hashlib.sha256(self.content).hexdigest(),
            timings=Timings(denoise=Duration(seconds=42), total=Duration(seconds=48)),
        )

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.hits += 1
                status = outer.failures.popleft() if outer.failures else 200
                if status not in {0, 200}:
                    self.send_error(status)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content if status else outer.content[:1000])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
