"""`tkm view`: a local page to look through results."""

from __future__ import annotations

import ipaddress
import socket
from typing import Annotated

import typer
from rich.console import Console

from flows.arguments import Address
from flows.settings import SettingsError
from flows.starting import open_store
from flows.terminal import shown
from storage.runs import split_address

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_Host = Annotated[str, typer.Option(metavar="ADDRESS", help="address to listen at; others than loopback let others in")]
_Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="port to listen at, 0 for any that is free")]
_Names = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="NAME", help="a further name by which browsers call this machine; may be repeated"),
]
console = Console()


def view(uri: Address, host: _Host = "127.0.0.1", port: _Port = 8765, name: _Names = None) -> None:
    """Look through results in a browser: frames with skeletons, ids and trails, a timeline of tracks, suspects, candidates.

    The page is served from this machine to this machine alone, until Ctrl-C.
    """
    import uvicorn

    from flows.view.server import make_app

    root, run = split_address(uri)
    store = open_store(root)
    app = make_app(store, run, [*_LOOPBACK, host, *_own_names(host), *(name or [])])
    with _listening(host, port) as listening:
        port = listening.getsockname()[1]
        if host not in _LOOPBACK:
            console.print(
                f"[yellow]warning[/]: whoever reaches port {port} of {shown(host)} can see these results and their videos; there "
                "is no password. On a network that others use, leave out --host and use an SSH tunnel.",
                highlight=False,
                soft_wrap=True,
            )
        at = f"[{host}]" if ":" in host else host
        console.print(f"{shown(root)}: look at http://{shown(at)}:{port}   (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket at an address. SettingsError where it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        remedy = "give another, or --port 0 for any that is free"
        raise SettingsError(f"--host {host} --port {port}: {error.strerror}; {remedy}") from None


def _own_names(host: str) -> list[str]:
    """What browsers elsewhere may call this machine where it listens at all of its addresses."""
    try:
        if not ipaddress.ip_address(host).is_unspecified:
            return []
        name = socket.gethostname()
        return [name, socket.getfqdn(), *{str(found[4][0]) for found in socket.getaddrinfo(name, None)}]
    except (ValueError, OSError):
        return []
