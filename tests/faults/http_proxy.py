"""A bad network and a bad day of the S3 server: an HTTP proxy that passes requests on unchanged, or spoils them in bursts."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Literal, get_args
from urllib.parse import urlsplit

Spoil = Literal["500", "503", "reset", "stall", "cut answer", "cut upload", "lost answer"]
SPOILS: tuple[Spoil, ...] = get_args(Spoil)
_STALL_S = (0.5, 4.0)
_DEAD_S = 40.0  # the server's own silence, which is no fault of ours
_ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>a bad day</Message></Error>'


@dataclass(frozen=True)
class Burst:
    """Requests number `start` to `stop`, from 0, meet a fault; of the uploads (or downloads) among them, where only those can."""

    start: int
    stop: int
    spoil: Spoil


def draw_bursts(rng: Random, spoil: Spoil, requests: int) -> tuple[Burst, ...]:
    """Bursts among so many requests: short ones, which a client's own retries outlast, and now and then one which none does."""
    bursts = []
    for _ in range(rng.randint(2, 5)):
        length = rng.choice((1, 2, 3, 5, 8, 40))
        if spoil == "stall":
            length = min(length, 5)  # each takes seconds
        start = rng.randrange(requests)
        bursts.append(Burst(start, start + length, spoil))
    return tuple(bursts)


class Proxy:
    """Between clients and an S3 server. Headers pass as they are, so that signatures hold.

    url      where clients find it
    spoiled  requests that met a fault, by its kind
    passed   requests that did not
    """

    def __init__(self, server: str, bursts: Sequence[Burst], seed: int) -> None:
        address = urlsplit(server)
        self._host, self._port = str(address.hostname), int(address.port or 80)
        self._bursts, self._rng, self._lock, self._number = bursts, Random(seed), threading.Lock(), 0
        self.spoiled: Counter[str] = Counter()
        self.passed = 0
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._listener.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._listener.shutdown()
        self._listener.server_close()

    def next_fault(self, method: str, size: int) -> tuple[Spoil | None, float]:
        """What happens to the next request, of so many bytes, and a number in [0, 1) that says how."""
        with self._lock:
            number, draw = self._number, self._rng.random()
            self._number += 1
            found = next((burst.spoil for burst in self._bursts if burst.start <= number < burst.stop), None)
            applies = {"cut answer": method == "GET", "cut upload": size > 0, "lost answer": method != "GET"}
            if found is not None and not applies.get(found, True):
                found = None
            if found is None:
                self.passed += 1
            else:
                self.spoiled[found] += 1
            return found, draw

    def pass_on(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> http.client.HTTPResponse:
        """The server's answer to a request, not read yet."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_DEAD_S)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body or None)
        return connection.getresponse()

    def cut_upload(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes, draw: float) -> None:
        """Send the server all headers and a part of the body, and hang up."""
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        with socket.create_connection((self._host, self._port), timeout=_DEAD_S) as server:
            server.sendall("\r\n".join(lines).encode("latin-1") + body[: int(draw * len(body))])
            server.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                server.settimeout(2)
                server.recv(1 << 16)  # the server has noticed before the client hears of it

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self._body()
                headers = [(name, value) for name, value in self.headers.items() if name.lower() not in ("expect", "connection")]
                request = self.command, self.path, headers, body
                spoil, draw = proxy.next_fault(self.command, len(body))
                if spoil in ("500", "503"):
                    self._refuse(int(spoil))
                elif spoil == "reset":
                    self._reset()
                elif spoil == "cut upload":
                    proxy.cut_upload(*request, draw)
                    self._reset()
                elif spoil == "lost answer":
                    proxy.pass_on(*request).read()
                    self._reset()
                else:
                    if spoil == "stall":
                        time.sleep(_STALL_S[0] + draw * (_STALL_S[1] - _STALL_S[0]))
                    self._answer(proxy.pass_on(*request), draw if spoil == "cut answer" else None)

            do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server's names

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                whole = b""  # as it came: the server reads the same framing
                while True:
                    line = self.rfile.readline()
                    size = int(line.split(b";")[0], 16)
                    whole += line + self.rfile.read(size) + self.rfile.readline()
                    if size == 0:
                        return whole

            def _answer(self, response: http.client.HTTPResponse, cut: float | None) -> None:
                data = response.read()
                self.send_response_only(response.status, response.reason)
                for name, value in response.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                has_body = self.command != "HEAD" and response.status not in (204, 304)
                length = response.getheader("Content-Length") if not has_body else str(len(data))
                if length is not None:
                    self.send_header("Content-Length", length)
                self.end_headers()
                if cut is None or not data:
                    self.wfile.write(data if has_body else b"")
                    return
                self.wfile.write(data[: int(cut * len(data))])
                self.wfile.flush()
                self._reset()

            def _refuse(self, status: int) -> None:
                data = _ERROR % (b"SlowDown" if status == 503 else b"InternalError")
                self.send_response_only(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def _reset(self) -> None:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its end is a reset

            def log_message(self, *_: object) -> None:
                return

            def handle(self) -> None:
                with suppress(OSError, ValueError, http.client.HTTPException):  # one end has hung up
                    super().handle()

        return Handler


@contextmanager
def proxy_to(server: str, bursts: Sequence[Burst] = (), seed: int = 0) -> Iterator[Proxy]:
    """A proxy to the server at a URL, until the context ends."""
    proxy = Proxy(server, bursts, seed)
    try:
        yield proxy
    finally:
        proxy.close()
