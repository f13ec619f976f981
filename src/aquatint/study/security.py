"""Trust: signed tokens, protection against forged requests, limits of rates and sizes, and headers of every answer."""

from __future__ import annotations

import hmac
import json
import math
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aquatint.errors import UsageError
from aquatint.study.service import RefusedError

NAME = "secrets.json"
MAX_BODY = 4096  # bytes; a vote has about 300
_ADDRESSES = 10_000  # that a limit remembers

HEADERS = {
    "content-security-policy": "; ".join(
        (
            *("default-src 'none'", "img-src 'self'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"),
            *("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
        )
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Keys:
    """What only the server knows.

    Attributes:
        secret: signs tokens.
        admin: opens the page of the admin.
    """

    secret: str
    admin: str

    @staticmethod
    def of(folder: Path) -> Keys:
        """The keys of a study, made with its first start; readable by the owner alone.

        Raises:
            UsageError: the file is damaged.
            OSError: the file cannot be read or written.
        """
        path = folder / NAME
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            try:
                keys = Keys(**json.loads(path.read_text()))
            except (ValueError, TypeError) as error:
                raise UsageError(f"{path}: {error}") from None
            if min(len(keys.secret), len(keys.admin)) < 16:
                raise UsageError(f"{path}: keys must have at least 16 characters") from None
            return keys
        keys = Keys(secrets.token_urlsafe(32), secrets.token_urlsafe(24))
        with os.fdopen(descriptor, "w") as file:
            json.dump(vars(keys), file)
        return keys

    def sign(self, purpose: str, value: str) -> str:
        """A token that only the holder of the keys can make, of one purpose."""
        return str(URLSafeSerializer(self.secret, salt=purpose).dumps(value))

    def read(self, purpose: str, token: str) -> str | None:
        """What was signed; None for a forged token or one of another purpose."""
        try:
            value = URLSafeSerializer(self.secret, salt=purpose).loads(token)
        except BadSignature:
            return None
        return value if isinstance(value, str) else None

    def check_csrf(self, request: Request, cookie: str, token: str) -> None:
        """Checks that a request comes from a page of ours that was made for the holder of a cookie.

        Raises:
            RefusedError: it does not (403).
        """
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        foreign = site not in (None, "same-origin", "none") or (
            origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        )
        if foreign or self.read("csrf", token) != cookie:
            raise RefusedError(403, "this request does not come from a page of this study")

    def is_admin(self, token: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(token.encode(), self.admin.encode())


class Limit:
    """So many requests a minute from one address or rater: a bucket of tokens for each.

    Arguments:
        per_minute: the rate at which a bucket fills.
        burst: its size.
        clock: in seconds.
    """

    def __init__(self, per_minute: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> None:
        """Takes a token; raises RefusedError (429) if there is none."""
        now = self._clock()
        tokens, then = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        enough = tokens >= 1
        self._buckets[key] = (tokens - enough, now)
        if len(self._buckets) > _ADDRESSES:
            self._buckets.popitem(last=False)
        if not enough:
            raise RefusedError(429, f"too many requests: try again in {math.ceil((1 - tokens) / self._rate)} s")


async def body(request: Request) -> bytes:
    """The body of a request; raises RefusedError (413) as soon as it is too long."""
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > MAX_BODY:
            raise RefusedError(413, f"the request has more than {MAX_BODY} bytes")
    return bytes(received)


class Headers:
    """Adds the headers that keep a page to itself, and pages out of caches, to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)
