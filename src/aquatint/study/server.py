"""Running the application until it is stopped; votes that are on their way are taken first."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from aquatint.study import database, files
from aquatint.study.app import App
from aquatint.study.security import Keys
from aquatint.study.service import Service

GRACE = 10  # seconds that requests have to finish after a signal


def serve(folder: str | Path, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves a study until SIGINT or SIGTERM.

    Arguments:
        folder: of the study.
        host, port: to listen at.
        say: takes lines for the one who has started the server.

    Raises:
        AquatintError: see `files.load`, `Keys.of` and `Database`.
        OSError: a file cannot be read or written, or the address is in use.
    """
    study = files.load(folder)
    keys = Keys.of(study.folder)
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    app = App(Service(study, database.Database(study.folder / database.NAME)), keys)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.WARNING)
    shown = f"[{host}]" if ":" in host else host
    say(f"raters: http://{shown}:{port}/")
    say(f"admin:  http://{shown}:{port}/admin with the token {keys.admin}")
    if not is_loopback(host):
        say(
            f"{host} can be reached from other machines: put a server that speaks HTTPS, such as Caddy or nginx, in "
            "front of this one and let it listen at 127.0.0.1, or tokens cross the network in the clear (docs/study.md)"
        )
    config = uvicorn.Config(
        app.starlette,
        log_config=None,
        access_log=False,  # it would hold the tokens of links
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
