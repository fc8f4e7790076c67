"""A server of images on 127.0.0.1 that answers in every way a server can, also the wrong ones."""

from __future__ import annotations

import contextlib
import io
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from loader.errors import ImageError
from loader.fetch import Limits, fetch

LIMITS = Limits(max_bytes=100_000, download_seconds=10)
Names = dict[str, list[str]]
"""Host -> its addresses; under "asked", the hosts that were looked up."""


def png() -> bytes:
    """The image that is served."""
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(file, "PNG")
    return file.getvalue()


class ImageServer(ThreadingHTTPServer):
    """The server with the requests it has seen, as (path, headers)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, Message]] = []
        self.stop = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    """One path for each way in which a server can answer."""

    protocol_version = "HTTP/1.1"
    server: ImageServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers))
        name, _, rest = self.path.lstrip("/").partition("/")
        with contextlib.suppress(OSError):  # the client hangs up, as it should
            getattr(self, f"answer_{name.partition('?')[0]}")(rest)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Stay silent."""

    def send(
        self, body: bytes = b"", status: int = 200, length: int | str | None = None, **headers: str
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not False:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def answer_image(self, _rest: str) -> None:
        self.send(png(), Content_Type="image/png")

    def answer_page(self, _rest: str) -> None:
        self.send(b"<html>", Content_Type="Text/HTML; charset=utf-8")

    def answer_status(self, rest: str) -> None:
        self.send(b"", int(rest))

    def answer_hop(self, rest: str) -> None:
        self.send(b"", 302, Location=f"/hop/{int(rest) - 1}" if rest != "1" else "../image")

    def answer_loop(self, _rest: str) -> None:
        self.send(b"", 307, Location="/loop")

    def answer_slow_loop(self, _rest: str) -> None:
        time.sleep(0.15)
        self.send(b"", 302, Location="/slow_loop")

    def answer_nowhere(self, _rest: str) -> None:
        self.send(b"", 301)

    def answer_to(self, rest: str) -> None:
        self.send(b"", 308, Location=rest)

    def answer_claims_more(self, _rest: str) -> None:
        self.send(png(), length=50_000)

    def answer_claims_less(self, _rest: str) -> None:
        self.send(png(), length=30)

    def answer_claims_huge(self, _rest: str) -> None:
        self.send(png(), length=10**12)

    def answer_claims_nonsense(self, _rest: str) -> None:
        self.send(png(), length="many")

    def answer_unsized(self, _rest: str) -> None:
        self.send(png(), length=False)

    def answer_chunked(self, rest: str) -> None:
        self.send(length=False, Transfer_Encoding="chunked")
        body = png()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        if rest != "broken":
            self.wfile.write(b"0\r\n\r\n")

    def answer_endless(self, _rest: str) -> None:
        self.send(length=False)
        while True:
            self.wfile.write(b"\xff" * 4096)

    def drip(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.wfile.write(piece)
            time.sleep(0.05)

    def answer_drip(self, _rest: str) -> None:
        self.send(length=False)
        self.drip(itertools.repeat(b"\xff"))

    def answer_drip_header(self, _rest: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.drip(itertools.repeat(b"x"))

    def answer_continue(self, _rest: str) -> None:
        self.drip(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))

    def answer_silence(self, _rest: str) -> None:
        self.server.stop.wait(5)

    def answer_garbage(self, _rest: str) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

    def answer_hangup(self, _rest: str) -> None:
        self.wfile.write(b"")


@contextlib.contextmanager
def serve() -> Iterator[ImageServer]:
    """Start a server, stop it at the end."""
    server = ImageServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def fails(url: str, *pieces: str, limits: Limits = LIMITS, allow_private: bool = True) -> ImageError:
    """The download is refused, with a message that holds these pieces."""
    with pytest.raises(ImageError) as caught:
        fetch(url, limits=limits, allow_private=allow_private)
    message = str(caught.value)
    for piece in pieces:
        assert piece in message
    assert message.endswith(".")
    return caught.value
