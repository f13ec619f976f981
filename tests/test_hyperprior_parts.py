"""The parts of the hyperprior family: layers, densities, offsets, and how many parameters they come to."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hyperprior_models import FAMILY  # noqa: E402
from scipy import stats  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from aquatint.codecs.hyperprior.architecture import ARCHITECTURES, Architecture  # noqa: E402
from aquatint.codecs.hyperprior.context import NEIGHBOURS, MaskedConv2d, fronts  # noqa: E402
from aquatint.codecs.hyperprior.layers import (  # noqa: E402
    GDN,
    ChannelNorm,
    RateGain,
    lower_bound,
    rate_features,
    round_through,
)
from aquatint.codecs.hyperprior.model import multiplications  # noqa: E402
from aquatint.codecs.hyperprior.network import HyperStep, Network  # noqa: E402
from aquatint.codecs.hyperprior.offsets import CentroidOffset, LearnedOffset, reconstruct  # noqa: E402
from aquatint.codecs.hyperprior.priors import FactorizedPrior, gaussian_bits  # noqa: E402
from aquatint.codecs.hyperprior.transforms import BlockSynthesis, PixelSynthesis, analysis, synthesis  # noqa: E402
from aquatint.errors import UsageError  # noqa: E402

TINY = FAMILY["channelwise"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# ---- Layers


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse: bool) -> None:
    layer = GDN(3, inverse=inverse)
    with torch.no_grad():
        layer.gamma.copy_(torch.rand(3, 3) * 0.5)
        layer.beta.copy_(torch.rand(3) + 0.5)
    x = torch.randn(1, 3, 2, 2)
    gamma, beta = layer.gamma.detach() ** 2, layer.beta.detach() ** 2
    for i in range(3):
        norm = torch.sqrt(beta[i] + sum(gamma[i, j] * x[:, j] ** 2 for j in range(3)))
        expected = x[:, i] * norm if inverse else x[:, i] / norm
        assert torch.allclose(layer(x)[:, i], expected, atol=1e-5)


def test_channel_norm_is_its_formula() -> None:
    layer = ChannelNorm(3)
    with torch.no_grad():
        layer.gain.copy_(torch.tensor([1.0, 2.0, -1.0]))
        layer.bias.copy_(torch.tensor([0.0, 0.5, 0.0]))
    x = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    root = math.sqrt((4 + 1 + 9) / 2 + 1e-3)  # the mean is 3, and the variance the unbiased one
    expected = torch.tensor([-2 / root, -2 / root + 0.5, -3 / root])
    assert torch.allclose(layer(x).flatten(), expected, atol=1e-6)
    large = torch.randn(2, 3, 5, 7)
    assert torch.allclose(layer(large)[:, :, 2:4, 3:], layer(large[:, :, 2:4, 3:]), atol=1e-6)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("format_", [torch.contiguous_format, torch.channels_last])
def test_gdn_is_the_same_without_gradients(inverse: bool, format_: torch.memory_format) -> None:
    layer = GDN(5, inverse=inverse)
    x = torch.randn(2, 5, 67, 63).contiguous(memory_format=format_)  # more places than a piece has
    expected = layer(x).detach()
    with torch.no_grad():
        assert torch.allclose(layer(x), expected, atol=1e-6)


def test_lower_bound_passes_gradients_that_lead_back() -> None:
    values = torch.tensor([-1.0, -1.0, 2.0], requires_grad=True)
    (lower_bound(values, 0.5) * torch.tensor([1.0, -1.0, 3.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, -1.0, 3.0]


def test_round_through_rounds_with_the_gradient_of_the_identity() -> None:
    values = torch.tensor([0.4, 1.6], requires_grad=True)
    rounded = round_through(values)
    rounded.sum().backward()
    assert rounded.tolist() == [0.0, 2.0]
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 1.0]


def test_rate_gains_begin_as_one_and_follow_the_step() -> None:
    gain = RateGain(2)
    x = torch.ones(2, 2, 1, 1)
    features = rate_features(torch.tensor([18.0, 1.0]), 18.0)
    assert torch.equal(gain(x, features), x)
    assert features[0].tolist() == pytest.approx([1, 1, 1, 1])
    assert features[1].tolist() == pytest.approx([1, -1, 1, -1], abs=1e-5)
    with torch.no_grad():
        gain.linear.weight.copy_(torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert gain(x, features).flatten().tolist() == pytest.approx([math.e, 1, 1 / math.e, 1], rel=1e-5)


def test_a_masked_convolution_sees_nothing_that_comes_later() -> None:
    layer = MaskedConv2d(1, 1, 5)
    x = torch.randn(1, 1, 5, 5, requires_grad=True)
    layer(x)[0, 0, 2, 2].backward()
    assert x.grad is not None
    seen = x.grad[0, 0] != 0
    assert seen.flatten()[:12].all()
    assert not seen.flatten()[12:].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (7, 5)])
def test_fronts_visit_every_place_after_its_neighbours(size: tuple[int, int]) -> None:
    visited = np.full(size, -1)
    for number, (rows, columns) in enumerate(fronts(*size)):
        assert (visited[rows, columns] == -1).all()
        for row, column in zip(rows, columns, strict=True):
            for y, x in NEIGHBOURS:
                if 0 <= row + y < size[0] and 0 <= column + x < size[1]:
                    assert 0 <= visited[row + y, column + x] < number
        visited[rows, columns] = number
    assert (visited >= 0).all()


def test_residual_transforms_begin_as_the_cosine_transform() -> None:
    forward, backward = analysis(TINY), synthesis(TINY)
    smooth = functional.interpolate(torch.rand(1, 3, 2, 2), 32, mode="bilinear") - 0.5
    features = rate_features(torch.tensor([3.0]), 18.0)
    assert ((backward(forward(smooth, features), features) - smooth) ** 2).mean() < 0.1 * smooth.var()
    grey = torch.full((1, 3, 16, 16), 0.25)
    assert forward(grey, features).flatten()[:2].tolist() == pytest.approx([0.25 * 16 * 3**0.5 / 5, 0], abs=1e-4)


@pytest.mark.parametrize(("kind", "inputs", "stride"), [(PixelSynthesis, 6, 2), (BlockSynthesis, 7, 16)])
def test_fast_forms_of_transposed_convolutions(kind: type[nn.ConvTranspose2d], inputs: int, stride: int) -> None:
    if stride == 2:
        layer = kind(inputs, 3, 5, stride=2, padding=2, output_padding=1)
    else:
        layer = kind(inputs, 3, stride, stride=stride, bias=False)
    x = torch.randn(2, inputs, 5, 4)
    assert layer(x).shape == (2, 3, 5 * stride, 4 * stride)
    assert torch.allclose(layer(x), nn.ConvTranspose2d.forward(layer, x), atol=1e-5)


# ---- Densities


def test_gaussian_bits_are_those_of_the_distribution() -> None:
    residuals = torch.tensor([0.0, 1.0, -2.0, 3.25])
    scales = torch.tensor([0.3, 1.0, 2.0, 5.0])
    expected = -np.log2(
        stats.norm.cdf((residuals.numpy() + 0.5) / scales.numpy())
        - stats.norm.cdf((residuals.numpy() - 0.5) / scales.numpy())
    )
    assert gaussian_bits(residuals, torch.log2(scales)).numpy() == pytest.approx(expected, rel=1e-4)
    assert gaussian_bits(torch.zeros(1), torch.tensor([-50.0])).item() < 1e-4


@pytest.mark.parametrize("log_scale", [-1e4, 1e4])
def test_gradients_of_any_scale_are_finite(log_scale: float) -> None:
    scale = torch.tensor([log_scale], requires_grad=True)
    gaussian_bits(torch.tensor([3.0]), scale).sum().backward()
    assert scale.grad is not None
    assert torch.isfinite(scale.grad).all()


def test_a_factorized_prior_is_a_density_for_any_step() -> None:
    prior = FactorizedPrior(3)
    for step in (0.5, 1.0, 4.0):
        values = torch.arange(-200, 201) * step
        bits = prior.bits(values.expand(1, 3, 1, -1), torch.tensor([step]))
        assert (2**-bits).sum(3).flatten().tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    edges = prior.logits(torch.linspace(-20, 20, 101).expand(3, -1))
    assert (edges.diff(dim=1) > 0).all()


def test_hyper_latent_likelihood_has_gradients_for_its_density_and_its_step() -> None:
    network = Network(TINY)
    noise = lambda like: torch.rand_like(like) - 0.5  # noqa: E731
    network(torch.rand(2, 3, 64, 64), torch.tensor([2.0, 9.0]), noise).hyper_bits.sum().backward()
    for name, parameter in network.prior.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert network.hyper_step is not None
    last = network.hyper_step.layers[4]
    assert last.bias.grad.abs() > 0


def test_a_wider_bin_costs_fewer_bits() -> None:
    prior = FactorizedPrior(2)
    values = torch.randn(1, 2, 4, 4) * 3
    narrow, wide = (float(prior.bits(values, torch.tensor([step])).sum().detach()) for step in (0.5, 2.0))
    assert narrow - wide == pytest.approx(2 * values.numel(), rel=0.2)  # the density is wide: a factor of 4 is 2 bits


# ---- Offsets


@pytest.mark.parametrize(("magnitude", "offset"), [(1.0, 0.245), (2.0, 0.359)])
def test_centroids_of_a_gaussian(magnitude: float, offset: float) -> None:
    found = CentroidOffset()(torch.tensor([magnitude]), torch.tensor([-1.0]), torch.ones(1))
    assert found.item() == pytest.approx(offset, abs=1e-3)


def test_centroids_are_those_of_numerical_integration() -> None:
    for scale in (0.2, 0.7, 3.0):
        for q in (1, 2, 5):
            x = np.linspace(q - 0.5, q + 0.5, 20001)
            density = stats.norm.pdf(x, scale=scale)
            expected = q - (x * density).sum() / density.sum() if density.sum() > 1e-25 else 0.5
            residuals, log_scale = (torch.tensor([v], dtype=torch.float64) for v in (q, math.log2(scale)))
            assert CentroidOffset()(residuals, log_scale, torch.ones(1)).item() == pytest.approx(expected, abs=1e-3)


def test_offsets_move_residuals_towards_zero_and_leave_zeros() -> None:
    residuals = torch.tensor([[[[-2.0, 0.0, 1.0]]]], requires_grad=True)
    moved = reconstruct(residuals, torch.full_like(residuals, -1.0), torch.ones(1), CentroidOffset())
    assert moved.flatten().tolist() == pytest.approx([-2 + 0.359, 0, 1 - 0.245], abs=1e-3)
    moved.sum().backward()
    assert residuals.grad is not None
    assert residuals.grad.flatten().tolist() == [1, 1, 1]  # the offset has no say in what is quantised
    assert torch.equal(reconstruct(residuals, residuals, torch.ones(1), None), residuals)


def test_a_learned_offset_stays_in_the_bin_whatever_the_scale() -> None:
    offset = LearnedOffset()
    with torch.no_grad():
        offset.layers[-1].weight.fill_(100)
    scales = torch.tensor([-50.0, 0.0, 300.0])
    assert offset(torch.ones(3), scales, torch.ones(3)).abs().max() <= 0.5


# ---- Networks


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    [("scale-hyperprior", 5.08), ("mean-scale", 7.03), ("autoregressive", 14.13), ("compact", 3.77)],
)
def test_networks_have_as_many_parameters_as_published(name: str, millions: float) -> None:
    assert count(Network(ARCHITECTURES[name])) / 1e6 == pytest.approx(millions, abs=0.005)


def test_hific_has_the_size_of_the_paper() -> None:
    with torch.device("meta"):  # shapes alone: the weights would take 726 MB
        network = Network(ARCHITECTURES["hific"])
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}

    def convolution(inputs: int, outputs: int, side: int, norm: bool = True) -> int:
        return outputs * (inputs * side**2 + 1) + 2 * outputs * norm

    widths = [60, 120, 240, 480, 960]
    steps = [convolution(a, b, 3) for a, b in pairwise(widths)]
    back = [convolution(b, a, 3) for a, b in pairwise(widths)]
    hyper = convolution(320, 320, 5, norm=False)
    assert sizes["analysis"] == convolution(3, 60, 7) + sum(steps) + convolution(960, 220, 3, norm=False)
    trunk = 2 * 220 + convolution(220, 960, 3) + 18 * convolution(960, 960, 3)
    assert sizes["synthesis"] == trunk + sum(back) + convolution(60, 3, 7, norm=False)
    assert sizes["hyper_analysis"] == convolution(220, 320, 3, norm=False) + 2 * hyper
    # One network for means and one for scales.
    assert sizes["hyper_synthesis"] == 2 * (2 * hyper + convolution(320, 220, 3, norm=False))
    millions = {name: round(size / 1e6, 2) for name, size in sizes.items() if name != "prior"}
    assert millions == {
        "analysis": 7.42,
        "synthesis": 156.77,
        "hyper_analysis": 5.75,
        "hyper_synthesis": 11.51,
        "context": 0,
    }
    assert sum(sizes.values()) == pytest.approx(181.5e6, abs=5e4)
    encode, decode = multiplications(ARCHITECTURES["hific"])
    assert (round(encode / 1e3, 1), round(decode / 1e3, 1)) == (86.6, 675.4)


def test_small_networks_have_as_many_parameters_as_published() -> None:
    assert count(LearnedOffset()) == 205
    assert count(HyperStep()) == 141
    assert count(FactorizedPrior(1)) == 58
    assert count(Network(Architecture("gdn", (192,), 320, 192, "mean-scale"))) / 1e6 == pytest.approx(17.56, abs=0.05)


@pytest.mark.parametrize("name", FAMILY)
def test_every_parameter_receives_a_gradient(name: str) -> None:
    network = Network(FAMILY[name])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)  # some begin as zero, and keep others without a gradient
    noise = lambda like: torch.rand_like(like) - 0.5  # noqa: E731
    pixels = torch.rand(2, 3, 64, 64)
    coded = network(pixels, torch.tensor([1.0, FAMILY[name].max_step]), noise)
    (coded.bits.sum() + ((coded.pixels - pixels) ** 2).sum()).backward()
    trained = {key: parameter for key, parameter in network.named_parameters() if parameter.requires_grad}
    assert len(trained) == len(list(network.parameters())) - (2 if name == "channelwise" else 0)  # cosine transforms
    for key, parameter in trained.items():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0, key


def test_pictures_of_a_batch_have_their_own_steps() -> None:
    network = Network(TINY).eval()
    pixels = torch.rand(2, 3, 64, 48)
    steps = torch.tensor([1.5, 12.0])
    both = network(pixels, steps, None)
    for k in range(2):
        alone = network(pixels[k : k + 1], steps[k : k + 1], None)
        assert torch.allclose(alone.bits, both.bits[k : k + 1], rtol=1e-3)
        assert torch.allclose(alone.pixels, both.pixels[k : k + 1], atol=1e-3)
    assert both.bits[0] > 1.5 * both.bits[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transform": "wavelet"}, "wavelet"),
        ({"entropy": "arithmetic"}, "arithmetic"),
        ({"channels": (8,)}, "2 widths, not 1"),
        ({"groups": (8, 8)}, "do not sum to 32"),
        ({"max_step": 0.5}, "from 1 to 64, not 0.5"),
        ({"latents": 5000}, "not 5000"),
        ({"offset": "big"}, "big"),
        ({"depth": 3}, "no depth"),
    ],
)
def test_architectures_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Architecture.from_json({**TINY.to_json(), **changes})


def test_architectures_survive_json() -> None:
    for architecture in (*ARCHITECTURES.values(), TINY):
        assert Architecture.from_json(architecture.to_json()) == architecture
