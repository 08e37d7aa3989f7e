"""A web server on loopback that behaves as badly as a test asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; `answer` is given by path, without what follows a ?."""

    protocol_version = "HTTP/1.1"
    answers: Mapping[str, Answer] = {}

    def _answer(self) -> None:
        with suppress(ConnectionError):  # who asked has heard enough
            self.answers[self.path.partition("?")[0]](self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the names that the library looks for

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def begin(self, status: int, **headers: object) -> None:
        """Send the first line and headers, `_` in whose names stands for `-`."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def go_on_for_ever(self, block: bytes = bytes(2**18)) -> None:
        """Send blocks, in chunks without a length, until nobody listens any more."""
        while self.command != "HEAD":
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))


@contextmanager
def serve(answers: Mapping[str, Answer]) -> Iterator[str]:
    """URL, without a slash at its end, of a server that gives these answers by path."""
    handler = type("Requests", (Request,), {"answers": answers})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
