"""The server: raters, votes, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from study_folder import client, join, make, vote

from aquatint.errors import AquatintError
from aquatint.study import ballots, database, files, server
from aquatint.study.app import RATER
from aquatint.study.database import Database
from aquatint.study.design import Kind
from aquatint.study.files import Settings
from aquatint.study.security import MAX_BODY, Keys, Limit
from aquatint.study.service import RefusedError, Service


def test_a_rater_from_the_first_to_the_last_trial(tmp_path: Path) -> None:
    study = make(tmp_path)
    with client(study) as browser:
        csrf = join(browser)
        state = browser.get("/state").json()
        assert (state["done"], state["total"]) == (0, 20)
        shown = []
        while state["trials"]:
            trial = state["trials"][0]
            shown.append(trial["id"])
            for side in ("left", "reference", "right"):
                picture = browser.get(trial[side])
                assert picture.headers["content-type"] == "image/png"
                assert picture.content.startswith(b"\x89PNG")
            answer = browser.post("/votes", json=vote(trial["id"]), headers={"x-csrf-token": csrf})
            assert answer.status_code == 200
            state = answer.json()
        assert state["done"] == 20
        assert len(set(shown)) == 20
        assert "Thank you" in browser.get("/done").text
    found = ballots.read(study, Database(study.folder / database.NAME))
    kinds = [ballot.trial.kind for ballot in found]
    assert (kinds.count(Kind.PAIR), kinds.count(Kind.GOLDEN), kinds.count(Kind.REPEAT)) == (12, 4, 4)
    pairs = [frozenset((b.trial.left, b.trial.right)) for b in found if b.trial.kind == Kind.PAIR]
    assert len(set(pairs)) == 12
    repeats = [frozenset((b.trial.left, b.trial.right)) for b in found if b.trial.kind == Kind.REPEAT]
    assert set(repeats) < set(pairs)
    assert len(set(repeats)) == 4
    assert (found[0].vote.seconds, found[0].vote.pixel_ratio, found[0].vote.viewport_width) == (2.5, 2, 1440)


def test_no_page_names_a_codec(tmp_path: Path) -> None:
    study = make(tmp_path)
    with client(study) as browser:
        join(browser)
        text = browser.get("/rate").text + browser.get("/state").text
        trial = browser.get("/state").json()["trials"][0]
        headers = [str(browser.get(trial[side]).headers) for side in ("left", "right", "reference")]
        for secret in (*study.conditions, *study.pictures, *study.by_id, "golden", "repeat"):
            assert secret not in text + "".join(headers)


def test_a_vote_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = make(tmp_path)
    with client(study) as browser:
        csrf = {"x-csrf-token": join(browser)}
        trial = browser.get("/state").json()["trials"][0]["id"]
        answers = [browser.post("/votes", json=vote(trial), headers=csrf) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert answers[0].json() == answers[2].json()
        assert answers[0].json()["done"] == 1
        other = browser.post("/votes", json=vote(trial, choice="right"), headers=csrf)
        assert other.status_code == 409
    assert "refused with 409: POST /votes" in caplog.text
    votes = Database(study.folder / database.NAME).votes()
    assert [vote.choice for vote in votes.values()] == ["left"]


def test_another_raters_trial_does_not_exist(tmp_path: Path) -> None:
    with client(make(tmp_path)) as browser:
        join(browser)
        trial = browser.get("/state").json()["trials"][0]
        browser.cookies.clear()
        csrf = join(browser)
        assert browser.get(trial["left"]).status_code == 404
        assert browser.post("/votes", json=vote(trial["id"]), headers={"x-csrf-token": csrf}).status_code == 404


def test_another_device_goes_on(tmp_path: Path) -> None:
    study = make(tmp_path)
    with client(study) as one, client(study) as other:
        csrf = join(one)
        trial = one.get("/state").json()["trials"][0]["id"]
        after = one.post("/votes", json=vote(trial), headers={"x-csrf-token": csrf}).json()
        link = one.get("/rate").text.split('value="/resume/')[1].split('"')[0]
        assert other.get("/state").status_code == 401
        assert other.get(f"/resume/{link}").headers["location"] == "/rate"
        assert other.get("/state").json() == after
        assert other.get(f"/resume/x{link}").status_code == 401


@pytest.mark.parametrize("token", ["", "nonsense", '"a".b', "InJhdGVyIg.AAAAAAAAAAAAAAAAAAAAAAAAAAA"])
def test_forged_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture, token: str) -> None:
    with client(make(tmp_path)) as browser:
        browser.cookies.set(RATER, token)
        assert browser.get("/state").status_code == 401
        assert browser.post("/votes", json=vote("x")).status_code == 401
        assert browser.get("/rate").headers["location"] == "/"
        assert browser.get("/pictures/x/left").status_code == 401
    assert "refused with 401: GET /state from testclient: there is no valid token of a rater" in caplog.text


def test_tokens_are_of_one_purpose_and_one_study() -> None:
    keys, others = Keys("a" * 32, "b" * 32), Keys("c" * 32, "b" * 32)
    token = keys.sign("csrf", "someone")
    assert keys.read("csrf", token) == "someone"
    assert keys.read("rater", token) is None
    assert others.read("csrf", token) is None


def test_requests_of_other_sites(tmp_path: Path) -> None:
    with client(make(tmp_path)) as browser:
        csrf = join(browser)
        trial = browser.get("/state").json()["trials"][0]["id"]
        for headers in (
            {},
            {"x-csrf-token": "x" + csrf},
            {"x-csrf-token": csrf, "origin": "http://evil.example"},
            {"x-csrf-token": csrf, "sec-fetch-site": "cross-site"},
        ):
            assert browser.post("/votes", json=vote(trial), headers=headers).status_code == 403
        assert browser.post("/join", data={"csrf": csrf}).status_code == 403
        assert browser.get("/state").json()["done"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (MAX_BODY + 1), 413),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 4000, 400),
        (b"[]", 422),
        (json.dumps(vote("x")), 404),
        (json.dumps(vote("x" * 65)), 422),
        (json.dumps(vote("x", choice="both")), 422),
        (json.dumps(vote("x", choice=["left"])), 422),
        (json.dumps(vote("x", seconds=-1)), 422),
        (json.dumps(vote("x", seconds=True)), 422),
        (json.dumps(vote("x", seconds="2")), 422),
        (json.dumps(vote("x", seconds=float("nan"))), 422),
        (json.dumps(vote("x", flips=10**300)), 422),
        (json.dumps(vote("x", layout="heap")), 422),
        (json.dumps({"trial": "x"}), 422),
    ],
)
def test_votes_that_make_no_sense(tmp_path: Path, body: str | bytes, status: int) -> None:
    with client(make(tmp_path)) as browser:
        csrf = join(browser)
        assert browser.post("/votes", content=body, headers={"x-csrf-token": csrf}).status_code == status


def test_an_endless_body_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with client(make(tmp_path)) as browser:
        csrf = join(browser)
        assert browser.post("/join", data={"csrf": csrf, "more": "x" * MAX_BODY}).status_code == 413
        assert "refused with 413: POST /join from testclient: the request has more than 4096 bytes" in caplog.text
        parts = (b"x" * 1000 for _ in range(1000))
        assert browser.post("/votes", content=parts, headers={"x-csrf-token": csrf}).status_code == 413


def test_neither_and_haste_where_they_are_not_allowed(tmp_path: Path) -> None:
    study = make(tmp_path, Settings(not_sure=False, minimum_seconds=1.5))
    with client(study) as browser:
        csrf = {"x-csrf-token": join(browser)}
        trial = browser.get("/state").json()["trials"][0]["id"]
        assert browser.post("/votes", json=vote(trial, choice="neither"), headers=csrf).status_code == 422
        assert browser.post("/votes", json=vote(trial, seconds=1.4), headers=csrf).status_code == 422
        assert browser.post("/votes", json=vote(trial, seconds=1.5), headers=csrf).status_code == 200


@pytest.mark.parametrize(
    "path", ["/pictures/../secrets.json/left", "/pictures/x/..%2f..%2fsecrets.json", "/static/..%2fapp.py"]
)
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    with client(make(tmp_path)) as browser:
        join(browser)
        answer = browser.get(path)
        assert answer.status_code == 404
        assert "admin" not in answer.text


def test_headers_of_every_answer(tmp_path: Path) -> None:
    with client(make(tmp_path)) as browser:
        for path in ("/", "/nowhere", "/state", "/static/rate.js", "/admin"):
            headers = browser.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
        cookies = browser.get("/").headers["set-cookie"]
        assert "HttpOnly" in cookies
        assert "SameSite=lax" in cookies


def test_titles_and_texts_are_escaped(tmp_path: Path) -> None:
    study = make(tmp_path, Settings(title="<script>alert(1)</script>"))
    (study.folder / files.CONSENT).write_text("<script>alert(2)</script> [x](javascript:alert(3))")
    with client(study) as browser:
        text = browser.get("/").text
        assert "<script>" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert 'href="javascript' not in text


def test_limits_fill_again() -> None:
    now = 0.0
    limit = Limit(60, 2, clock=lambda: now)
    limit.take("a")
    limit.take("a")
    limit.take("b")
    with pytest.raises(RefusedError, match="try again in 1 s") as refused:
        limit.take("a")
    assert refused.value.status == 429
    now = 1.0
    limit.take("a")


def test_too_many_raters_from_one_address(tmp_path: Path) -> None:
    with client(make(tmp_path, Settings(joins_per_minute=2))) as browser:
        for _ in range(2):
            browser.cookies.clear()
            join(browser)
        browser.cookies.clear()
        page = browser.get("/").text
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        assert browser.post("/join", data={"csrf": csrf}).status_code == 429


def test_the_admin_needs_the_token(tmp_path: Path) -> None:
    study = make(tmp_path)
    with client(study) as browser:
        csrf = join(browser)
        trial = browser.get("/state").json()["trials"][0]["id"]
        browser.post("/votes", json=vote(trial), headers={"x-csrf-token": csrf})
        page = browser.get("/admin").text
        assert "coarse" not in page
        form = {"csrf": page.split('name="csrf" value="')[1].split('"')[0]}
        assert browser.post("/admin", data=form | {"token": "wrong"}).status_code == 401
        assert browser.post("/admin", data=form | {"token": "ü"}).status_code == 401
        right = Keys.of(study.folder).admin
        assert browser.post("/admin", data={"token": right}).status_code == 403
        assert browser.post("/admin", data=form | {"token": right}).status_code == 303
        assert "coarse" in browser.get("/admin").text


def test_keys_are_kept_and_private(tmp_path: Path) -> None:
    keys = Keys.of(tmp_path)
    assert Keys.of(tmp_path) == keys
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    (tmp_path / "secrets.json").write_text('{"secret": "", "admin": ""}')
    with pytest.raises(AquatintError, match="at least 16 characters"):
        Keys.of(tmp_path)


def test_votes_can_only_be_added(tmp_path: Path) -> None:
    study = make(tmp_path)
    with client(study) as browser:
        csrf = join(browser)
        trial = browser.get("/state").json()["trials"][0]["id"]
        browser.post("/votes", json=vote(trial), headers={"x-csrf-token": csrf})
    connection = sqlite3.connect(study.folder / database.NAME)
    for statement in ("DELETE FROM votes", "UPDATE votes SET choice = 'right'", "DELETE FROM trials"):
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            connection.execute(statement)
    connection.close()


def test_a_restart_knows_what_was(tmp_path: Path) -> None:
    study = make(tmp_path)
    with client(study) as browser:
        csrf = join(browser)
        trial = browser.get("/state").json()["trials"][0]["id"]
        after = browser.post("/votes", json=vote(trial), headers={"x-csrf-token": csrf}).json()
        cookies = dict(browser.cookies)
    with client(study) as browser:
        browser.cookies.update(cookies)
        assert browser.get("/state").json() == after
        assert browser.post("/votes", json=vote(trial), headers={"x-csrf-token": csrf}).json() == after


def serve(folder: Path, port: int) -> subprocess.Popen[str]:
    """`aquatint study serve`, once it listens and has said where."""
    command = [sys.executable, "-m", "aquatint", "study", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == f"raters: http://127.0.0.1:{port}/\n"
    assert process.stderr.readline().startswith(f"admin:  http://127.0.0.1:{port}/admin with the token ")
    return process


def test_a_killed_server_has_every_vote_that_it_acknowledged(tmp_path: Path) -> None:
    study = make(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    process = serve(study.folder, port)
    try:
        form = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', http.get("/").text)[0]}
        assert http.post("/join", data=form).status_code == 303
        csrf = {"x-csrf-token": re.findall(r'name="csrf" content="([^"]+)"', http.get("/rate").text)[0]}
        trial = http.get("/state").json()["trials"][0]["id"]
        answer = http.post("/votes", json=vote(trial), headers=csrf)
        assert answer.status_code == 200
    finally:
        process.kill()
        process.communicate()
    process = serve(study.folder, port)
    try:
        with pytest.raises(OSError, match="in use"):
            server.serve(study.folder, host="127.0.0.1", port=port, say=print)
        assert http.get("/state").json() == answer.json()
        assert http.post("/votes", json=vote(trial), headers=csrf).json()["done"] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    http.close()
    assert process.returncode == 128 + signal.SIGTERM
    assert said == ""
    stored = Database(study.folder / database.NAME)
    assert list(stored.votes()) == [trial]
    assert stored.check() == "ok"
    stored.close()


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.example", False)],
)
def test_hosts_beyond_this_machine(host: str, alone: bool) -> None:
    assert server.is_loopback(host) is alone


def test_votes_on_other_stimuli_are_noticed(tmp_path: Path) -> None:
    study = make(tmp_path)
    with client(study) as browser:
        join(browser)
        browser.get("/state")
    other = Database(study.folder / database.NAME)
    shown = other.trials()[0].left
    fewer = dataclasses.replace(study, stimuli=tuple(s for s in study.stimuli if s.id != shown))
    with pytest.raises(AquatintError, match=f"votes on the stimulus {shown}, which is not in stimuli.jsonl"):
        Service(fewer, other)
    other.close()


def test_files_that_are_no_database(tmp_path: Path) -> None:
    (tmp_path / "votes.sqlite").write_bytes(b"something else, long enough to be looked at" * 9)
    with pytest.raises(AquatintError, match="not a database"):
        Database(tmp_path / "votes.sqlite")
    with pytest.raises(AquatintError, match="unable to open"):
        Database(tmp_path / "none.sqlite", read_only=True)


def test_logs_hold_no_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="aquatint")
    with client(make(tmp_path)) as browser:
        browser.get("/resume/secret-of-someone")
    said = "".join(record.getMessage() for record in caplog.records if record.name == "aquatint.study")
    assert "GET /resume/{token}" in said
    assert "secret-of-someone" not in said
