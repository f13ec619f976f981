"""The two fit engines against each other, against their definitions, and against themselves."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from engines import ARCHITECTURES, DEFAULT_TAPS, ENGINES, ISAS, random_engine, random_parameters, random_shares

from aquatint.codecs.overfitted import schedule
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import Engine, create_engine
from aquatint.errors import UsageError

torch = pytest.importorskip("torch")

torch.set_num_threads(1)  # the pictures are small

SIZES = [(1, 1), (1, 2), (17, 3), (3, 130), (67, 45), (64, 96), (33, 257)]


def split(parameters: np.ndarray, architecture: Architecture) -> dict[str, np.ndarray]:
    shapes = architecture.arrays()
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])
    return dict(zip(shapes, np.split(parameters, ends[:-1]), strict=True))


def assert_close(actual: np.ndarray, expected: np.ndarray, name: str, tolerance: float = 1e-4) -> None:
    """Errors are measured against the largest entry; 1e-7 is for sums of large terms that cancel to almost nothing."""
    if expected.size:
        error, largest = np.abs(actual - expected).max(), np.abs(expected).max()
        assert error <= tolerance * largest + 1e-7, f"{name}: {error} against {largest}"


def assert_gradients_of_autograd(
    height: int, width: int, architecture: Architecture, temperature: float, skip_finest: bool = False
) -> None:
    oracle = random_engine(height, width, architecture, device="torch", skip_finest=skip_finest)
    expected_value, expected_bits, expected_parameters, expected_latents = oracle.gradients(temperature, 0.8, 0.1, 8)
    expected_arrays = split(expected_parameters, architecture)
    for isa in ISAS:
        engine = random_engine(height, width, architecture, isa=isa, skip_finest=skip_finest)
        value, bits, parameters, latents = engine.gradients(temperature, 0.8, 0.1, 8)
        assert float(value) == pytest.approx(float(expected_value), rel=1e-5)
        assert float(bits) == pytest.approx(float(expected_bits), rel=1e-5)
        for name, array in split(parameters, architecture).items():
            assert_close(array, expected_arrays[name], f"{isa}: {name}")
        for k, (array, expected) in enumerate(zip(latents, expected_latents, strict=True)):
            assert_close(array, expected, f"{isa}: latents {k}")


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradients_are_those_of_autograd(size: tuple[int, int], architecture: Architecture) -> None:
    assert_gradients_of_autograd(*size, architecture, temperature=0.3)


@pytest.mark.parametrize("temperature", [0.0, 0.02, 0.1, 1.0, 30.0])
def test_gradients_at_other_temperatures(temperature: float) -> None:
    assert_gradients_of_autograd(45, 67, Architecture(5, 12, 4, 16, 2), temperature)


@pytest.mark.parametrize("architecture", [ARCHITECTURES[i] for i in (0, 3, 4, 7, 8)], ids=str)
def test_gradients_without_the_finest_grid(architecture: Architecture) -> None:
    assert_gradients_of_autograd(45, 67, architecture, temperature=0.3, skip_finest=True)


@pytest.mark.parametrize(("device", "isa"), ENGINES)
def test_a_skipped_grid_stays_zero_and_is_free(device: str, isa: str) -> None:
    architecture = Architecture(4, 6, 2, 8, 1)
    engine = random_engine(45, 67, architecture, device=device, isa=isa, skip_finest=True)
    whole = random_engine(45, 67, architecture, device=device, isa=isa)
    whole.set_latents(0, np.zeros((45, 67), np.float32))
    np.testing.assert_allclose(engine.render(), whole.render(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(engine.evaluate()[1], [0, *whole.evaluate()[1][1:]], rtol=1e-6)
    before = engine.latents(1)
    for seed in range(3):
        engine.step(0.3, 1, 0.01, 1e-2, 1e-3, seed)
    assert not engine.latents(0).any()
    assert (engine.latents(1) != before).any()
    with pytest.raises(ValueError, match="skipped"):
        engine.set_latents(0, np.ones((45, 67), np.float32))
    with pytest.raises(UsageError, match="the only grid"):
        create_engine(np.zeros((3, 4, 4), np.float32), Architecture(grids=1), skip_finest=True, device=device, isa=isa)


@pytest.mark.parametrize("architecture", ARCHITECTURES[:4], ids=str)
def test_gradients_of_the_bits_of_networks(architecture: Architecture) -> None:
    origin = random_parameters(architecture, np.random.default_rng(9))
    oracle, *engines = (random_engine(24, 33, architecture, device=d, isa=i) for d, i in ENGINES)
    oracle.set_origin(origin)
    lagrangian = 1000.0  # so that the networks' bits matter against those of the latents
    without = engines[0].gradients(0.3, 0.8, lagrangian, 7)[2]
    expected = oracle.gradients(0.3, 0.8, lagrangian, 7)[2]
    assert np.abs(expected - without).max() > 1e-3 * np.abs(expected).max()
    for engine in engines:
        engine.set_origin(origin)
        actual = engine.gradients(0.3, 0.8, lagrangian, 7)[2]
        for name, array in split(actual, architecture).items():
            assert_close(array, split(expected, architecture)[name], name)
    at_origin = random_engine(24, 33, architecture, isa=ISAS[0])
    at_origin.parameters = engines[0].parameters = origin  # where their bits are fewest, and have no gradient
    np.testing.assert_array_equal(
        engines[0].gradients(0.3, 0.8, lagrangian, 7)[2], at_origin.gradients(0.3, 0.8, lagrangian, 7)[2]
    )


def test_hard_rounded_latents_have_no_gradient() -> None:
    engine = random_engine(20, 30, ARCHITECTURES[0])
    for gradient in engine.gradients(0, 0, 0.1, 0)[3]:
        assert (gradient == 0).all()


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
def test_thread_count_changes_rounding_only(threads: int) -> None:
    architecture = Architecture(7, 12, 4, 16, 2)
    engine = random_engine(131, 70, architecture, threads=threads)
    one = random_engine(131, 70, architecture, threads=1)
    for k, (array, expected) in enumerate(
        zip(engine.gradients(0.2, 1, 0.1, 5)[3], one.gradients(0.2, 1, 0.1, 5)[3], strict=True)
    ):
        assert_close(array, expected, f"latents {k}", 1e-6)
    assert_close(engine.gradients(0.2, 1, 0.1, 5)[2], one.gradients(0.2, 1, 0.1, 5)[2], "parameters", 1e-5)


def test_gradients_are_finite_differences() -> None:
    # Temperature 1 keeps the loss smooth, and the picture stays where the clamp is the identity.
    architecture = Architecture(2, 8, 0, 4, 1)
    engine = random_engine(6, 5, architecture, seed=3)
    lagrangian, pixels = 0.01, 6 * 5
    weights = np.random.default_rng(1).choice([-1e-3, 1e-3], (3, 6, 5)).astype(np.float32)

    def linear(image: np.ndarray) -> tuple[float, np.ndarray]:
        return float((image * weights).sum()), weights

    def loss() -> float:
        value, bits, *_ = engine.gradients(1.0, 0.5, lagrangian, 8, linear)
        return float(value) + lagrangian * float(bits) / pixels

    # Bring the picture inside [0, 1], where the clamp is the identity.
    arrays = split(engine.parameters, architecture)
    arrays["s2"] *= 0.05
    arrays["t2"][:] = 0.5
    arrays["r"] *= 0.1
    arrays["u"] *= 0.1
    parameters = np.concatenate(list(arrays.values()))
    engine.parameters = parameters
    _, _, gradient, latent_gradients = engine.gradients(1.0, 0.5, lagrangian, 8, linear)
    step = 2e-3
    generator = np.random.default_rng(2)
    for i in generator.choice(len(parameters), 40, replace=False):
        losses = []
        for change in (-step, step):
            moved = parameters.copy()
            moved[i] += change
            engine.parameters = moved
            losses.append(loss())
        assert (losses[1] - losses[0]) / (2 * step) == pytest.approx(gradient[i], rel=0.02, abs=1e-5)
    engine.parameters = parameters
    for k, expected in enumerate(latent_gradients):
        latents = engine.latents(k)
        for row, column in np.ndindex(*latents.shape):
            losses = []
            for change in (-step, step):
                moved = latents.copy()
                moved[row, column] += change
                engine.set_latents(k, moved)
                losses.append(loss())
            engine.set_latents(k, latents)
            assert (losses[1] - losses[0]) / (2 * step) == pytest.approx(expected[row, column], rel=0.02, abs=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("separate_finest", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES[:4], ids=str)
def test_whole_steps_agree(architecture: Architecture, separate_finest: bool, isa: str) -> None:
    engine = random_engine(45, 67, architecture, isa=isa)
    oracle = random_engine(45, 67, architecture, device="torch")
    if separate_finest:
        for each in (engine, oracle):
            each.separate_finest(random_shares(45, 67))
    start = engine.parameters
    for seed in range(4):
        value, bits = engine.step(0.3, 1, 0.01, 1e-2, 1e-3, seed)
        expected_value, expected_bits = oracle.step(0.3, 1, 0.01, 1e-2, 1e-3, seed)
        assert float(value) == pytest.approx(float(expected_value), rel=1e-4)
        assert float(bits) == pytest.approx(float(expected_bits), rel=1e-4)
    for _ in range(2):
        engine.step(0, 0, 0.01, 0, 1e-3, 0)
        oracle.step(0, 0, 0.01, 0, 1e-3, 0)
    # Adam's first steps are as long for a gradient of rounding errors as for a large one, so a few entries may differ.
    assert np.quantile(np.abs(engine.parameters - oracle.parameters), 0.98) < 1e-5
    assert np.abs(engine.parameters - start).max() > 3e-3
    for k in range(architecture.grids):
        assert np.quantile(np.abs(engine.latents(k) - oracle.latents(k)), 0.98) < 1e-4


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_first_steps_are_of_the_learning_rate_where_gradients_are_large(device: str) -> None:
    engine = random_engine(20, 30, ARCHITECTURES[0], device=device)
    for _ in range(2):  # the second time with forgotten moments
        parameters, latents = engine.parameters, engine.latents(1)
        _, _, gradient, latent_gradients = engine.gradients(0.3, 1, 0.1, 0)
        engine.step(0.3, 1, 0.1, 0.02, 0.01, 0)
        large = np.abs(gradient) > 1e-4
        assert large.mean() > 0.5
        np.testing.assert_allclose((engine.parameters - parameters)[large], -0.01 * np.sign(gradient[large]), rtol=1e-3)
        latent_gradient, of_bit = latent_gradients[1], 0.1 / (20 * 30)
        expected = -0.02 * latent_gradient / (np.abs(latent_gradient) + 3 * of_bit)
        np.testing.assert_allclose(engine.latents(1) - latents, expected, rtol=1e-3, atol=1e-5)
        assert np.ptp(expected) > 0.02
        engine.reset_optimiser(0.9, 0.8)


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_moments_decay_as_the_engine_is_told(device: str) -> None:
    engine, architecture = random_engine(20, 30, ARCHITECTURES[0], device=device), ARCHITECTURES[0]
    engine.reset_optimiser(0.9, 0.8)
    found, latents, biases = [], [], []
    for seed in range(2):
        _, _, gradient, latent_gradients = engine.gradients(0.3, 1, 0.1, seed)
        found.append((latent_gradients[1], split(gradient, architecture)["b1"]))
        latents.append(engine.latents(1))
        biases.append(split(engine.parameters, architecture)["b1"])
        engine.step(0.3, 1, 0.1, 0.02, 0.01, seed)

    def second_step(which: int, mean_decay: float, square_decay: float, epsilon: float) -> np.ndarray:
        first, second = (each[which].astype(np.float64) for each in found)
        mean = (mean_decay * first + second) / (1 + mean_decay)  # with Adam's correction
        square = (square_decay * first**2 + second**2) / (1 + square_decay)
        return mean / (np.sqrt(square) + epsilon)

    expected = -0.02 * second_step(0, 0.5, 0.9, 3 * 0.1 / (20 * 30))
    np.testing.assert_allclose(engine.latents(1) - latents[1], expected, rtol=1e-3, atol=1e-5)
    change = split(engine.parameters, architecture)["b1"] - biases[1]
    np.testing.assert_allclose(change, -0.01 * second_step(1, 0.8, 0.8, 1e-8), rtol=1e-3, atol=1e-5)
    for decays in ((1.0, 0.8), (0.9, -0.1)):
        with pytest.raises(ValueError, match=r"decay must be from 0 to 0\.9999"):
            engine.reset_optimiser(*decays)


def test_sixteen_seeds_in_a_row_are_a_stratified_sample() -> None:
    engine = random_engine(20, 30, Architecture(grids=2), device="torch")
    draws = np.stack([engine._noise(seed).numpy() for seed in range(32, 48)])  # type: ignore[attr-defined]
    assert np.abs(draws).max() <= 0.5
    strata = np.floor((draws + 0.5) * 16).astype(int)
    np.testing.assert_array_equal(np.sort(strata, 0), np.broadcast_to(np.arange(16)[:, None], strata.shape))
    first, second = draws[0], draws[1]
    np.testing.assert_allclose(np.abs(first - second), 0.5, atol=1e-6)  # the order takes the farthest first
    assert abs(np.corrcoef(first, engine._noise(48).numpy())[0, 1]) < 0.1  # type: ignore[attr-defined]


def test_the_longer_a_fit_the_longer_its_memory() -> None:
    assert schedule.decays(100) == pytest.approx((0.88, 0.7))
    assert schedule.decays(2500) == pytest.approx((0.976, 0.94))
    assert schedule.decays(1) == (0.5, 0.5)


@pytest.mark.parametrize("isa", ISAS)
def test_equal_seeds_give_equal_bits(isa: str) -> None:
    def fit(seed: int) -> list[np.ndarray]:
        engine = random_engine(67, 45, Architecture(5, 12, 4, 16, 2), isa=isa)
        for step in range(3):
            engine.step(0.3, 1, 0.01, 1e-2, 1e-2, seed + step)
        return [engine.parameters, *(engine.latents(k) for k in range(5))]

    first, second, other = fit(1), fit(1), fit(2)
    for a, b, c in zip(first, second, other, strict=True):
        assert a.tobytes() == b.tobytes()
        assert a.tobytes() != c.tobytes()


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_a_callable_distortion_can_be_the_mean_squared_error(device: str) -> None:
    architecture = ARCHITECTURES[0]
    engine = random_engine(45, 67, architecture, device=device)
    pixels = np.random.default_rng(0).random((3, 45, 67), dtype=np.float32)
    target = torch.from_numpy(pixels) if device == "torch" else pixels

    def mean_squared_error(image):
        return ((image - target) ** 2).mean(), (image - target) * (2 / pixels.size)

    value, bits, parameters, latents = engine.gradients(0.3, 1, 0.1, 3)
    own_value, own_bits, own_parameters, own_latents = engine.gradients(0.3, 1, 0.1, 3, mean_squared_error)
    assert float(own_value) == pytest.approx(float(value), rel=1e-6)
    assert float(own_bits) == float(bits)
    assert_close(own_parameters, parameters, "parameters", 1e-6)
    for k, (own, built_in) in enumerate(zip(own_latents, latents, strict=True)):
        assert_close(own, built_in, f"latents {k}", 1e-6)


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_what_has_no_rate_stays(device: str) -> None:
    engine = random_engine(45, 67, ARCHITECTURES[3], device=device)
    parameters, latents = engine.parameters, [engine.latents(k) for k in range(7)]
    engine.step(0, 0, 0.1, 0, 1e-2, 0)
    assert all(engine.latents(k).tobytes() == latents[k].tobytes() for k in range(7))
    assert (engine.parameters != parameters).mean() > 0.5
    parameters = engine.parameters
    engine.step(0.3, 1, 0.1, 1e-2, 0, 0)
    assert engine.parameters.tobytes() == parameters.tobytes()
    assert all((engine.latents(k) != latents[k]).mean() > 0.5 for k in range(7))


@pytest.mark.parametrize("isa", ISAS)
def test_partial_gradients_are_those_of_the_whole(isa: str) -> None:
    def step(latent_rate: float, network_rate: float) -> Engine:
        engine = random_engine(45, 67, ARCHITECTURES[3], isa=isa)
        engine.step(0.3, 1, 0.1, latent_rate, network_rate, 0)
        return engine

    both, networks, latents = step(1e-2, 1e-2), step(0, 1e-2), step(1e-2, 0)
    assert networks.parameters.tobytes() == both.parameters.tobytes()
    assert all(latents.latents(k).tobytes() == both.latents(k).tobytes() for k in range(7))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_evaluate_and_render_agree_with_each_other_and_the_oracle(architecture: Architecture) -> None:
    engine = random_engine(33, 50, architecture)
    oracle = random_engine(33, 50, architecture, device="torch")
    pixels = np.random.default_rng(0).random((3, 33, 50), dtype=np.float32)
    mse, bits = engine.evaluate()
    expected_mse, expected_bits = oracle.evaluate()
    picture = engine.render()
    assert float(mse) == pytest.approx(float(expected_mse), rel=1e-5)
    assert bits == pytest.approx(expected_bits, rel=1e-5)
    np.testing.assert_allclose(picture, oracle.render(), atol=1e-5)
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert float(mse) == pytest.approx(float(((picture.astype(np.float64) - pixels) ** 2).mean()), rel=1e-5)
    value, total, *_ = engine.gradients(0, 0, 0, 0)
    assert float(value) == pytest.approx(float(mse), rel=1e-6)
    assert float(total) == pytest.approx(sum(bits), rel=1e-6)


def test_rate_of_a_known_distribution() -> None:
    # With all weights zero every latent costs what the two last biases say: mean 1 and scale 2.
    architecture = Architecture(1, 8, 0, 4, 0)
    engine = create_engine(np.zeros((3, 2, 3), np.float32), architecture)
    arrays = {name: np.zeros(shape) for name, shape in architecture.arrays().items()}
    arrays["b3"][:] = 1, 1
    engine.parameters = np.concatenate([array.ravel() for array in arrays.values()]).astype(np.float32)
    latents = np.array([[1, 0, 2], [5, -20, 300]], np.float32)
    engine.set_latents(0, latents)

    def mass(y: float) -> float:
        if y == 1:
            return 1 - np.exp(-0.25)
        return 0.5 * (np.exp(-(abs(y - 1) - 0.5) / 2) - np.exp(-(abs(y - 1) + 0.5) / 2))

    expected = sum(-np.log2(mass(y) + 2.0**-24) for y in latents.ravel().tolist())
    assert engine.evaluate()[1] == pytest.approx([expected], rel=1e-6)
    assert mass(300) < 2.0**-24  # so that the floor is part of the sum


def test_descent_fits_a_picture() -> None:
    generator = np.random.default_rng(0)
    pixels = np.broadcast_to(np.linspace(0.1, 0.9, 48, dtype=np.float32), (3, 40, 48))
    architecture = Architecture(5, 8, 0, 8, 1)
    engine = create_engine(pixels, architecture)
    arrays = {name: generator.normal(0, 0.1, shape) for name, shape in architecture.arrays().items()}
    arrays["taps"][:] = DEFAULT_TAPS
    arrays["t2"][:] = 0.5
    engine.parameters = np.concatenate([array.ravel() for array in arrays.values()]).astype(np.float32)
    before = float(engine.evaluate()[0])
    for seed in range(300):
        engine.step(0.3, 1, 1e-4, 0.05, 0.01, seed)
    assert before > 0.04
    assert float(engine.evaluate()[0]) < 0.002


def test_latents_stay_within_the_limit() -> None:
    engine = random_engine(8, 8, Architecture(1, 8, 0, 4, 0))
    engine.set_latents(0, np.full((8, 8), 511, np.float32))

    def pull(image: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.0, np.full_like(image, -1.0)

    for seed in range(3):
        engine.step(1.0, 0, 0, 1.0, 0, seed, pull)
        engine.step(1.0, 0, 0, 1.0, 0, seed, lambda image: (0.0, np.ones_like(image)))
        assert np.abs(engine.latents(0)).max() <= 511
    assert engine.latents(0).min() < 511


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_unusable_arguments_change_nothing(device: str) -> None:
    engine = random_engine(20, 30, ARCHITECTURES[0], device=device)
    before = [engine.parameters, *(engine.latents(k) for k in range(7))]
    with pytest.raises(ValueError, match="parameters must be"):
        engine.parameters = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="finite"):
        engine.parameters = np.full_like(before[0], np.nan)
    with pytest.raises(ValueError, match="latents of grid 1 must be"):
        engine.set_latents(1, np.zeros((20, 30), np.float32))
    with pytest.raises(ValueError, match="511"):
        engine.set_latents(0, np.full((20, 30), 512, np.float32))
    with pytest.raises(ValueError, match="latent_rate must be 0"):
        engine.step(0, 0, 0.1, 1e-2, 1e-2, 0)
    with pytest.raises(ValueError, match="temperature must be"):
        engine.step(-1, 0, 0.1, 1e-2, 1e-2, 0)
    with pytest.raises(ValueError, match="lagrangian must be"):
        engine.step(1, 0, float("nan"), 1e-2, 1e-2, 0)
    with pytest.raises(ValueError, match="gradient must be"):
        engine.step(1, 0, 0.1, 1e-2, 1e-2, 0, lambda image: (0.0, image[:, :5]))
    with pytest.raises(ZeroDivisionError):
        engine.step(1, 0, 0.1, 1e-2, 1e-2, 0, lambda image: (1 / 0, image))
    after = [engine.parameters, *(engine.latents(k) for k in range(7))]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))
    engine.step(1, 0, 0.1, 1e-2, 1e-2, 0)
    assert engine.parameters.tobytes() != before[0].tobytes()


def test_a_distortion_cannot_use_its_own_engine() -> None:
    engine = random_engine(20, 30, ARCHITECTURES[0])
    with pytest.raises(RuntimeError, match="at work already"):
        engine.step(1, 0, 0.1, 1e-2, 1e-2, 0, lambda image: (0.0, engine.render()))


def test_gradients_that_are_not_finite_are_refused() -> None:
    engine = random_engine(20, 30, ARCHITECTURES[0])
    with pytest.raises(ValueError, match="gradient must be finite"):
        engine.step(1, 0, 0.1, 1e-2, 1e-2, 0, lambda image: (0.0, np.full_like(image, np.nan)))


def test_other_threads_run_during_a_step() -> None:
    # The callback waits for another Python thread, which could not run if the interpreter's lock were held.
    engine = random_engine(20, 30, ARCHITECTURES[0])
    event = threading.Event()
    thread = threading.Thread(target=event.set)

    def wait(image: np.ndarray) -> tuple[float, np.ndarray]:
        thread.start()
        assert event.wait(10)
        return 0.0, np.zeros_like(image)

    engine.step(1, 0, 0.1, 1e-2, 1e-2, 0, wait)
    thread.join()
