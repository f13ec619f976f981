"""From votes to tables, plots and a page; the command line."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
from study_folder import make, write_stimuli
from typer.testing import CliRunner

from aquatint.cli import app
from aquatint.errors import UsageError
from aquatint.study import ballots, database, report, results, service
from aquatint.study.database import Database, Vote
from aquatint.study.files import Role, Settings, Stimulus, Study

WORTH = {"fine": 1.5, "coarse": 0.0, "rough": -1.5}


@pytest.fixture(autouse=True)
def pairs_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raters have secret seeds, and which pairs they see decides how near to the truth the votes come."""
    monkeypatch.setattr(service.secrets, "randbits", random.Random(7).getrandbits)


def fill(study: Study, raters: int, *, careless: int = 0) -> None:
    """Votes of raters who go by WORTH, the last of them by its opposite."""
    rng = np.random.default_rng(7)
    votes = Database(study.folder / database.NAME)
    served = service.Service(study, votes)

    def worth(stimulus: Stimulus) -> float:
        return {Role.REFERENCE: 9.0, Role.GOLDEN: -9.0}.get(stimulus.role, WORTH.get(stimulus.condition, 0))

    for number in range(raters):
        rater = served.join()
        state = served.state(rater)
        while state.trials:
            trial = state.trials[0]
            left, right = study.by_id[trial.left], study.by_id[trial.right]
            sign = -1 if number >= raters - careless else 1
            p = 1 / (1 + np.exp(sign * (worth(right) - worth(left))))
            choice = (
                "neither" if rng.random() < 0.05 and abs(worth(left)) < 5 else "left" if rng.random() < p else "right"
            )
            vote = Vote(trial.id, choice, 3.0, 1, "flip", 1440, 900, 1.0, 1.0, "mouse", time.time())
            state = served.vote(rater, vote)
    votes.close()


def compute(study: Study) -> results.Results:
    votes = Database(study.folder / database.NAME, read_only=True)
    found = results.compute(study, ballots.read(study, votes))
    votes.close()
    return found


def with_metrics(study: Study) -> Study:
    """PSNR agrees with WORTH; LPIPS, of which less is better, does not."""
    stimuli = [
        dataclasses.replace(s, metrics={"psnr": 30 + WORTH[s.condition], "lpips-alex": 2 + WORTH[s.condition]})
        if s.condition
        else s
        for s in study.stimuli
    ]
    return dataclasses.replace(study, stimuli=tuple(stimuli))


def test_votes_become_elo(tmp_path: Path) -> None:
    study = with_metrics(make(tmp_path))
    fill(study, 20)
    found = compute(study)
    (one,) = found.kept
    assert [one.conditions[k] for k in one.order] == ["fine", "coarse", "rough"]
    assert one.votes.sum() == 2 * 20 * 12
    for k, name in enumerate(one.conditions):
        truth = 1500 + 400 / np.log(10) * WORTH[name]
        assert one.intervals[k, 0] - 40 < truth < one.intervals[k, 1] + 40
    shares = one.win_shares
    np.testing.assert_allclose(shares + shares.T + np.diag([np.nan] * 3), np.full((3, 3), 1) + np.diag([np.nan] * 3))
    metrics = {one.metric: one for one in found.agreement}
    assert metrics["psnr"].pearson > 0.97
    assert metrics["psnr"].kendall == 1
    assert metrics["psnr"].two_choice > 0.75
    assert metrics["lpips-alex"].two_choice == pytest.approx(1 - metrics["psnr"].two_choice)
    assert metrics["lpips-alex"].spearman == pytest.approx(-1)


def test_careless_raters_are_left_out_and_listed(tmp_path: Path) -> None:
    study = make(tmp_path, pictures=12, settings=Settings(minimum_seconds=0, golden=10, repeats=10, trials=46))
    fill(study, 12, careless=2)
    found = compute(study)
    flagged = [bool(record.reasons) for record in found.records]
    assert flagged == [False] * 10 + [True] * 2
    assert "golden pairs wrong" in found.records[-1].reasons[0]
    assert found.kept[0].votes.sum() < found.everyone[0].votes.sum()


def test_no_votes_are_no_failure(tmp_path: Path) -> None:
    study = make(tmp_path)
    fill(study, 0)
    found = compute(study)
    assert found.kept[0].elo.tolist() == [1500] * 3
    report.write(study, found, tmp_path / "results")


def test_unknown_anchors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no condition 'best', only coarse, fine, rough"):
        results.compute(make(tmp_path), [], anchor="best")


def test_files_of_results(tmp_path: Path) -> None:
    study = with_metrics(make(tmp_path))
    fill(study, 3)
    folder = tmp_path / "results"
    report.write(study, compute(study), folder)
    with (folder / "elo.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["condition"] for row in rows[:3]] == ["coarse", "fine", "rough"]
    assert float(rows[1]["low"]) < float(rows[1]["elo"]) < float(rows[1]["high"])
    votes = [json.loads(line) for line in (folder / "votes.jsonl").read_text().splitlines()]
    assert len(votes) == 60
    assert {vote["kind"] for vote in votes} == {"pair", "golden", "repeat"}
    assert {"golden", "reference", "fine"} <= {vote["left"] for vote in votes} | {vote["right"] for vote in votes}
    page = (folder / "index.html").read_text()
    assert page.count("<svg") == 2
    assert (folder / "elo.png").read_bytes().startswith(b"\x89PNG")
    for name in ("agreement", "raters"):
        assert (folder / f"{name}.csv").stat().st_size > 100


def test_equal_votes_make_equal_files(tmp_path: Path) -> None:
    study = make(tmp_path)
    fill(study, 2)
    for name in ("one", "other"):
        report.write(study, compute(study), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_names_cannot_inject(tmp_path: Path) -> None:
    study = make(tmp_path, conditions=("fine", "<script>x<", "$a_b$ & co"))
    fill(study, 2)
    report.write(study, compute(study), tmp_path / "results")
    page = (tmp_path / "results" / "index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;x&lt;" in page
    assert "$a_b$ &amp; co" in page


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["study", *arguments])
    return result.exit_code, result.output


def test_the_command_line(tmp_path: Path) -> None:
    write_stimuli(tmp_path / "stimuli")
    folder = str(tmp_path / "study")
    status, said = run("new", folder, "--stimuli", str(tmp_path / "stimuli"), "--trials", "20", "--layout", "flip")
    assert status == 0, said
    assert "sizes of files are not known" in said
    assert run("new", folder, "--stimuli", str(tmp_path / "stimuli"))[0] == 1
    assert run("new", folder)[0] == 2
    assert run("new", folder, "--stimuli", "x", "--layout", "heap")[0] == 2
    assert run("new", folder, "--from", str(tmp_path / "nowhere"))[0] == 1
    status, said = run("results", folder)
    assert status == 1
    assert "unable to open" in said
    from aquatint.study import files

    fill(files.load(folder), 3)
    status, said = run("results", folder, "--json", "--anchor", "coarse", "--draws", "100")
    assert status == 0, said
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert next(row["elo"] for row in rows if row["condition"] == "coarse") == 1500


def test_simulation_on_the_command_line(tmp_path: Path) -> None:
    plot = tmp_path / "power.svg"
    arguments = ("--raters", "4,8", "--studies", "2", "--trials", "12", "--json", "--plot", str(plot))
    status, said = run("simulate", "--elo", "1400,1600", *arguments)
    assert status == 0, said
    rows = [json.loads(line) for line in said.splitlines()]
    assert [row["votes"] for row in rows] == [48, 96]
    assert rows[0]["half_width"] > rows[1]["half_width"]
    assert "<svg" in plot.read_text()
    assert run("simulate", "--elo", "a,b")[0] == 2
    assert run("simulate", "--elo", "1500")[0] == 2
