"""BD-rate against the package `bjontegaard` and against sums done by hand; curves that must not give a number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquatint.errors import UsageError
from aquatint.evaluation import baselines
from aquatint.evaluation.curves import Curve, CurveError, bd_metric, bd_rate, value_at
from aquatint.evaluation.statistics import bootstrap, jackknife, with_ends


@pytest.fixture(scope="module")
def bjontegaard():
    """The package that others use."""
    return pytest.importorskip("bjontegaard")


@st.composite
def monotone_curves(draw: st.DrawFn, least: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rates and qualities that both grow, across the ranges of low-rate codecs."""
    count = draw(st.integers(least, 8))
    steps = st.lists(st.floats(0.05, 1.0), min_size=count, max_size=count)
    bpp = 0.05 * np.exp(np.cumsum(draw(steps)))
    quality = 24 + np.cumsum(np.array(draw(steps)) * 3)
    return bpp, quality


@pytest.mark.parametrize("method", ["pchip", "akima"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_equals_bjontegaard(bjontegaard, method: str, data: st.DataObject) -> None:
    anchor, test = data.draw(monotone_curves()), data.draw(monotone_curves())
    low, high = max(anchor[1][0], test[1][0]), min(anchor[1][-1], test[1][-1])
    if low < high:
        wanted = bjontegaard.bd_rate(*anchor, *test, method, require_matching_points=False, min_overlap=0)
        assert bd_rate(Curve(*anchor), Curve(*test), method) == pytest.approx(wanted, rel=1e-3, abs=1e-3)  # type: ignore[arg-type]
    else:
        with pytest.raises(CurveError, match="do not overlap: they share no quality"):
            bd_rate(Curve(*anchor), Curve(*test))
    low, high = max(anchor[0][0], test[0][0]), min(anchor[0][-1], test[0][-1])
    if low < high:
        wanted = bjontegaard.bd_psnr(*anchor, *test, method, require_matching_points=False, min_overlap=0)
        assert bd_metric(Curve(*anchor), Curve(*test), method) == pytest.approx(wanted, rel=1e-3, abs=1e-3)  # type: ignore[arg-type]


RATES = np.array([0.1, 0.2, 0.4, 0.8])
QUALITIES = np.array([28.0, 31.0, 34.0, 37.0])


def test_a_codec_with_a_fifth_fewer_bits() -> None:
    assert bd_rate(Curve(RATES, QUALITIES), Curve(0.8 * RATES, QUALITIES)) == pytest.approx(-20)
    assert bd_metric(Curve(RATES, QUALITIES), Curve(RATES, QUALITIES + 0.7)) == pytest.approx(0.7)


def test_lower_may_be_better() -> None:
    anchor, test = Curve(RATES, -QUALITIES, False), Curve(1.5 * RATES, -QUALITIES, False)
    assert bd_rate(anchor, test) == pytest.approx(50)
    assert bd_metric(anchor, Curve(RATES, -QUALITIES - 1, False)) == pytest.approx(-1)


def test_the_order_of_points_does_not_matter() -> None:
    shuffled = Curve(0.5 * RATES[::-1], QUALITIES[::-1])
    assert bd_rate(Curve(RATES, QUALITIES), shuffled) == pytest.approx(-50)


@pytest.mark.parametrize(
    ("bpp", "values", "message"),
    [
        ([0.1], [30.0], "at least 2 points, not 1"),
        ([], [], "at least 2 points, not 0"),
        ([0.1, 0.2, 0.4], [50.0, 51.0, 52.0], "share no quality"),
        ([0.1, 0.2, 0.4], [28.0, 33.0, 32.0], "test curve is not monotone"),
        ([0.1, 0.2, 0.4], [28.0, 28.0, 32.0], "test curve is not monotone"),
    ],
)
def test_degenerate_curves_give_no_number(bpp: list[float], values: list[float], message: str) -> None:
    with pytest.raises(CurveError, match=message):
        bd_rate(Curve(RATES, QUALITIES), Curve(np.array(bpp), np.array(values)))


@pytest.mark.parametrize(
    ("bpp", "values", "message"),
    [
        ([0.1, 0.1], [30.0, 31.0], "two points have the same rate"),
        ([0.0, 0.1], [30.0, 31.0], "rates must be positive, not 0"),
        ([0.1, 0.2], [30.0, math.inf], "not finite"),
        ([0.1, 0.2], [30.0], "two lists of one length"),
    ],
)
def test_what_is_no_curve(bpp: list[float], values: list[float], message: str) -> None:
    with pytest.raises(CurveError, match=message):
        Curve(np.array(bpp), np.array(values))


def test_a_value_at_equal_bits() -> None:
    curve = Curve(RATES, QUALITIES)  # a straight line on a logarithmic axis
    assert value_at(curve, 0.2 * math.sqrt(2)) == pytest.approx(32.5)
    assert value_at(curve, 0.0975) == 28.0  # a rate that was missed by less than 3 %
    with pytest.raises(CurveError, match=r"from 0\.1 to 0\.8 bpp, not to 0\.05"):
        value_at(curve, 0.05)
    with pytest.raises(CurveError, match="no points"):
        value_at(Curve(np.array([]), np.array([])), 0.1)


def test_bootstrap_covers_the_mean_of_the_population() -> None:
    random = np.random.default_rng(1)
    estimates = [bootstrap(random.normal(5, 2, 24)) for _ in range(300)]
    covered = np.mean([estimate.low < 5 < estimate.high for estimate in estimates])  # type: ignore[operator]
    assert 0.90 <= covered <= 0.97  # percentile intervals of 24 values are a little too short
    assert estimates[0] == bootstrap(np.random.default_rng(1).normal(5, 2, 24))


def test_bootstrap_of_few_values() -> None:
    assert bootstrap([3.0]).low is None
    assert (bootstrap([3.0]).mean, bootstrap([3.0]).count) == (3.0, 1)
    with pytest.raises(UsageError, match="at least one"):
        bootstrap([])
    with pytest.raises(UsageError, match="nan"):
        bootstrap([1.0, math.nan])


# What papers and projects say about their own curves; the tables of ours have fewer digits, and VTM fewer points.
@pytest.mark.parametrize(
    ("dataset", "anchor", "test", "published", "tolerance"),
    [
        ("kodak", "VTM", "C3", 5.2, 0.7),
        ("kodak", "VTM", "C3 adaptive", 3.4, 0.7),
        ("kodak", "VTM", "MLIC+", -13.1, 0.7),
        ("clic2020-valid", "VTM 17.0", "C3", -0.1, 0.3),
        ("clic2020-valid", "VTM 17.0", "C3 adaptive", -2.8, 0.3),
        # One model for all rates costs nothing with a scale hyperprior, and 2 % with means.
        ("kodak", "mbt2018-mean", "mbt2018-mean-vbr", 2.1, 0.2),
        ("kodak", "hyperprior", "hyperprior-vbr", 0.0, 0.2),
    ],
)
def test_published_bd_rates(dataset: str, anchor: str, test: str, published: float, tolerance: float) -> None:
    curves = {item.name: Curve(*item.curves["psnr"].T) for item in baselines.load(dataset) if "psnr" in item.curves}
    assert bd_rate(curves[anchor], curves[test]) == pytest.approx(published, abs=tolerance)


def test_a_generative_codec_needs_a_third_fewer_bits_for_the_same_fid() -> None:
    # Muckley et al. 2023 say 30 to 40 % of MS-ILLM against HiFiC on CLIC2020.
    curves = {item.name: Curve(*item.curves["fid"].T, False) for item in baselines.load("clic2020-test")}  # type: ignore[misc]
    assert -45 < bd_rate(curves["HiFiC"], curves["MS-ILLM"]) < -25
    # At equal bits, the adversary lowers FID and costs PSNR.
    assert value_at(curves["MS-ILLM"], 0.12) < 0.5 * value_at(curves["MS-ILLM, no GAN"], 0.12)


@pytest.mark.parametrize("dataset", baselines.DATASETS)
def test_baselines_are_sound(dataset: str) -> None:
    from aquatint.evaluation.metrics import METRICS

    for item in baselines.load(dataset):
        assert len(item.source) > 20
        for metric, points in item.curves.items():
            curve = Curve(*points.T, METRICS[metric].higher_is_better)  # type: ignore[misc]
            assert (np.diff(curve.quality) > 0).all(), (item.name, metric)


def test_unknown_baselines() -> None:
    with pytest.raises(UsageError, match="no baselines for 'imagenet', but for kodak"):
        baselines.load("imagenet")


def test_jackknife_of_a_mean_is_the_interval_of_student() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(4).normal(5, 2, 24)
    found = jackknife(lambda chosen: float(values[chosen].mean()), 24)
    low, high = stats.t.interval(0.95, 23, values.mean(), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert with_ends({"x": found}) == {"x": found.mean, "x_low": found.low, "x_high": found.high}
    assert jackknife(lambda chosen: 3.0, 1).low is None


def test_jackknife_leaves_out_groups_of_many_pictures() -> None:
    seen: list[int] = []
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        values = random.normal(5, 2, 200)
        found = jackknife(lambda chosen, values=values: seen.append(len(chosen)) or float(values[chosen].mean()), 200)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 5 <= found.high
    assert set(seen) == {200, 195}
    assert 0.92 <= covered / 300 <= 0.98
