"""The web application: pages for raters and the admin, and the two calls that the page of a trial makes."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from aquatint.study import ballots, files, ranking, screening
from aquatint.study.database import CHOICES, Rater, Vote
from aquatint.study.security import Headers, Keys, Limit, body
from aquatint.study.service import RefusedError, Service, State

RATER, VISITOR, ADMIN = "aquatint_rater", "aquatint_visitor", "aquatint_admin"  # cookies
_INPUTS = ("keyboard", "mouse", "touch", "pen")
_SIDES = ("left", "right", "reference")
_MONTH = 30 * 24 * 3600

log = logging.getLogger("aquatint.study")


class App:
    """The pages of a study, as an ASGI application: `App(service, keys).starlette`.

    Arguments:
        service: the running study, whose database is closed with the application.
        keys: for its tokens.
    """

    def __init__(self, service: Service, keys: Keys) -> None:
        self._service = service
        self._study = service.study
        self._keys = keys
        settings = self._study.settings
        self._joins = Limit(settings.joins_per_minute, settings.joins_per_minute)
        self._votes = Limit(120, 30)
        self._admins = Limit(10, 10)
        self._pages = Environment(
            loader=PackageLoader("aquatint.study"), autoescape=select_autoescape(), undefined=StrictUndefined
        )
        self._pages.globals["settings"] = settings
        markdown = MarkdownIt("commonmark", {"html": False})
        self._texts = {
            name.removesuffix(".md"): Markup(markdown.render(self._study.text(name)))
            for name in (files.INSTRUCTIONS, files.CONSENT)
        }
        routes = [
            Route("/", self.welcome),
            Route("/join", self.join, methods=["POST"]),
            Route("/rate", self.rate),
            Route("/done", self.done),
            Route("/resume/{token}", self.resume),
            Route("/state", self.state),
            Route("/votes", self.vote, methods=["POST"]),
            Route("/pictures/{trial}/{side}", self.picture),
            Route("/admin", self.admin),
            Route("/admin", self.admin_login, methods=["POST"]),
            Route("/health", lambda _: PlainTextResponse("ok")),
            Mount("/static", StaticFiles(packages=[("aquatint.study", "static")])),
        ]
        self.starlette = Starlette(
            routes=routes,
            middleware=[Middleware(Headers)],
            exception_handlers={RefusedError: self._refused, HTTPException: self._http_error, 500: self._failed},
            lifespan=self._lifespan,
        )

    # Pages for raters.

    def welcome(self, request: Request) -> Response:
        """Instructions and consent."""
        visitor = request.cookies.get(VISITOR) or secrets.token_urlsafe(16)
        known = self._rater(request) is not None
        response = self._page("welcome.html", csrf=self._keys.sign("csrf", visitor), known=known, **self._texts)
        self._set_cookie(request, response, VISITOR, visitor)
        return response

    async def join(self, request: Request) -> Response:
        """Makes a rater of a visitor who has agreed."""
        form = _form(await body(request))
        self._keys.check_csrf(request, request.cookies.get(VISITOR, ""), form.get("csrf", ""))
        self._joins.take(_address(request))
        rater = await run_in_threadpool(self._service.join)
        return self._enter(request, rater)

    def rate(self, request: Request) -> Response:
        """The page of trials."""
        rater = self._rater(request)
        if rater is None:
            return RedirectResponse("/", 303)
        token = self._keys.sign("rater", rater.id)
        csrf = self._keys.sign("csrf", request.cookies[RATER])
        return self._page("rate.html", csrf=csrf, resume=f"/resume/{token}", **self._texts)

    def done(self, _: Request) -> Response:
        """Thanks."""
        return self._page("done.html")

    def resume(self, request: Request) -> Response:
        """Goes on where another device has stopped."""
        id = self._keys.read("rater", request.path_params["token"])
        rater = None if id is None else self._service.database.rater(id)
        if rater is None:
            raise RefusedError(401, "this link is not one of this study")
        return self._enter(request, rater)

    def picture(self, request: Request) -> Response:
        """A picture of a trial; its address tells nothing but the side."""
        rater = self._rater_or_refuse(request)
        trial = self._service.trial(rater, request.path_params["trial"])
        side = request.path_params["side"]
        if side not in _SIDES:
            raise RefusedError(404, "there is no such side")
        stimulus = self._study.by_id[getattr(trial, side)]
        headers = {"cache-control": "private, max-age=3600, immutable"}
        return FileResponse(self._study.path(stimulus), media_type="image/png", headers=headers)

    # What the page of trials calls.

    def state(self, request: Request) -> Response:
        """The next trials."""
        return self._state(self._service.state(self._rater_or_refuse(request)))

    async def vote(self, request: Request) -> Response:
        """Takes a vote; the same request again has the same answer and counts once."""
        data = await body(request)
        rater = await run_in_threadpool(self._rater_or_refuse, request)
        self._keys.check_csrf(request, request.cookies[RATER], request.headers.get("x-csrf-token", ""))
        self._votes.take(rater.id)
        vote = parse_vote(data, time.time())
        return self._state(await run_in_threadpool(self._service.vote, rater, vote))

    def _state(self, state: State) -> Response:
        return JSONResponse(
            {
                "done": state.done,
                "total": state.total,
                "trials": [
                    {"id": t.id, "position": t.position} | {side: f"/pictures/{t.id}/{side}" for side in _SIDES}
                    for t in state.trials
                ],
            }
        )

    # The admin.

    def admin(self, request: Request) -> Response:
        """How the study goes, or a form that asks for the token."""
        if self._keys.read("admin", request.cookies.get(ADMIN, "")) != "admin":
            visitor = request.cookies.get(VISITOR) or secrets.token_urlsafe(16)
            response = self._page("login.html", csrf=self._keys.sign("csrf", visitor))
            self._set_cookie(request, response, VISITOR, visitor)
            return response
        votes = ballots.read(self._study, self._service.database)
        voters = [rater.id for rater in self._service.database.raters()]
        wins, ties = ballots.tallies(self._study, votes, voters)
        fits = [
            ranking.fit(wins[:, place].sum(0), None if ties is None else ties[:, place].sum(0))
            for place in range(len(self._study.rates))
        ]
        hour = time.time() - 3600
        facts = {
            "raters": len(voters),
            "votes": len(votes),
            "votes in the last hour": sum(ballot.vote.received > hour for ballot in votes),
            "pairs": len(self._study.pairs),
            "trials a rater": self._study.plan[0],
        }
        elo = [dict(zip(self._study.conditions, fit.elo().round().astype(int), strict=True)) for fit in fits]
        tables = list(zip(self._study.rates, elo, strict=True))
        return self._page("admin.html", facts=facts, tables=tables, records=screening.screen(votes, fits))

    async def admin_login(self, request: Request) -> Response:
        """Checks the token of the admin."""
        form = _form(await body(request))
        self._keys.check_csrf(request, request.cookies.get(VISITOR, ""), form.get("csrf", ""))
        self._admins.take(_address(request))
        if not self._keys.is_admin(form.get("token", "")):
            raise RefusedError(401, "this is not the admin's token")
        response = RedirectResponse("/admin", 303)
        self._set_cookie(request, response, ADMIN, self._keys.sign("admin", "admin"), seconds=8 * 3600)
        return response

    # Common to all.

    def _rater(self, request: Request) -> Rater | None:
        id = self._keys.read("rater", request.cookies.get(RATER, ""))
        return None if id is None else self._service.database.rater(id)

    def _rater_or_refuse(self, request: Request) -> Rater:
        rater = self._rater(request)
        if rater is None:
            raise RefusedError(401, "there is no valid token of a rater")
        return rater

    def _enter(self, request: Request, rater: Rater) -> Response:
        response = RedirectResponse("/rate", 303)
        self._set_cookie(request, response, RATER, self._keys.sign("rater", rater.id))
        return response

    def _set_cookie(
        self, request: Request, response: Response, name: str, value: str, *, seconds: int = _MONTH
    ) -> None:
        # Lax, not strict: a link to resume that is opened from a mail must find its cookie after the redirection.
        secure = request.url.scheme == "https"
        response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)

    def _page(self, template: str, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._pages.get_template(template).render(values))

    def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return self._error(request, error.status, str(error))

    def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._error(request, error.status_code, error.detail)

    def _failed(self, request: Request, error: Exception) -> Response:
        log.error("%s failed", request.method, exc_info=error)
        return self._error(request, 500, "something went wrong here")

    def _error(self, request: Request, status: int, message: str) -> Response:
        # The route, not the path: paths hold tokens, or whatever a stranger wants to see in a log.
        route = getattr(request.scope.get("route"), "path", "an unknown path")
        log.warning("refused with %d: %s %s from %s: %s", status, request.method, route, _address(request), message)
        if request.url.path in ("/state", "/votes"):
            return JSONResponse({"error": message}, status)
        page = self._page("error.html", message=message, code=status)
        page.status_code = status
        return page

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._service.database.close()


def parse_vote(data: bytes, received: float) -> Vote:
    """A vote from the JSON that the page of trials sends.

    Raises:
        RefusedError: it is no JSON (400), or a field is missing or has a value that it cannot have (422).
    """
    try:
        values = json.loads(data)
    except ValueError:  # of UTF-8, too
        raise RefusedError(400, "the vote is not JSON") from None
    except RecursionError:
        raise RefusedError(400, "the vote is nested too deeply") from None
    if not isinstance(values, dict):
        raise RefusedError(422, "the vote is not an object")

    def number(name: str, low: float, high: float) -> float:
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:  # as of NaN
            raise RefusedError(422, f"{name} must be a number between {low} and {high}")
        return float(value)

    def choice(name: str, allowed: tuple[str, ...]) -> str:
        value = values.get(name)
        if not isinstance(value, str) or value not in allowed:
            raise RefusedError(422, f"{name} must be one of {', '.join(allowed)}")
        return value

    trial = values.get("trial")
    if not isinstance(trial, str) or len(trial) > 64 or not trial.isascii():
        raise RefusedError(422, "trial must be the id of a trial")
    return Vote(
        trial=trial,
        choice=choice("choice", CHOICES),
        seconds=number("seconds", 0, 86400),
        flips=int(number("flips", 0, 1_000_000)),
        layout=choice("layout", files.LAYOUTS),
        viewport_width=int(number("viewport_width", 1, 100_000)),
        viewport_height=int(number("viewport_height", 1, 100_000)),
        pixel_ratio=number("pixel_ratio", 0.1, 20),
        zoom=number("zoom", 0.1, 20),
        input=choice("input", _INPUTS),
        received=received,
    )


def _form(data: bytes) -> Mapping[str, str]:
    try:
        return {name: values[0] for name, values in parse_qs(data.decode(), max_num_fields=8).items()}
    except ValueError:
        raise RefusedError(400, "the form cannot be read") from None


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
