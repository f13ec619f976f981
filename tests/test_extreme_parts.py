"""The quantiser and the networks of the extreme codec."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")

from extreme_models import PAPER, SELECTIVE, SELECTIVE_PAPER, SMALL, trained  # noqa: E402

from aquatint.codecs.extreme.architecture import ARCHITECTURES, Extreme  # noqa: E402
from aquatint.codecs.extreme.model import multiplications  # noqa: E402
from aquatint.codecs.extreme.network import Network, feathered  # noqa: E402
from aquatint.codecs.extreme.quantiser import bound, quantised, soft  # noqa: E402
from aquatint.errors import UsageError  # noqa: E402

# ---- The quantiser


def test_the_nearest_level_is_chosen() -> None:
    latents = torch.tensor([-7.0, -1.6, -0.4, 0.4, 0.6, 1.4, 9.0])
    assert quantised(latents).tolist() == [-2, -2, 0, 0, 1, 1, 2]


def test_the_gradient_is_that_of_the_soft_choice() -> None:
    latents = torch.linspace(-3, 3, 41, requires_grad=True)
    weights = torch.randn(41, generator=torch.Generator().manual_seed(0))
    hard, softly = (torch.autograd.grad((weights * f(latents)).sum(), latents)[0] for f in (quantised, soft))
    assert hard.numpy() == pytest.approx(softly.numpy(), abs=1e-6)
    assert (soft(latents).diff() > 0).all()


def test_the_gradient_reaches_the_encoder() -> None:
    for architecture in (SMALL, PAPER):
        torch.manual_seed(0)
        network = Network(architecture)
        pixels = torch.rand(1, 3, 32, 32)
        symbols = network.symbols(network.latents(pixels), torch.ones(1, 1, 1, 1))
        network.pixels(symbols).square().mean().backward()
        gradients = [parameter.grad for parameter in network.encoder.parameters() if parameter.requires_grad]
        assert sum(float(gradient.abs().sum()) for gradient in gradients if gradient is not None) > 0


def test_all_levels_are_used() -> None:
    frequencies = trained(SMALL).context.frequencies.numpy()
    assert frequencies.sum(1) == pytest.approx(1)
    assert (frequencies.max(0) > 0.05).all()
    assert trained(SELECTIVE_PAPER).context.frequencies[:, 2].max() < 0.9


def test_the_bound_is_that_of_the_paper() -> None:
    assert [round(bound(channels, 16), 4) for channels in (2, 4, 8)] == [0.0181, 0.0363, 0.0726]
    assert round(bound(8, 8), 3) == 0.290


# ---- The networks


def test_the_networks_have_the_sizes_of_the_paper() -> None:
    found = {}
    for name in ("gc-2-instance", "gc-8-instance", "sc-4"):
        with torch.device("meta"):
            network = Network(ARCHITECTURES[name])
        found[name] = {part: sum(p.numel() for p in net.parameters()) for part, net in network.named_children()}
    # c7s1-60, d120, d240, d480, d960, c3s1-C and c3s1-960, nine R960, u480, u240, u120, u60, c7s1-3, with biases.
    assert found["gc-2-instance"]["encoder"] == 5_535_962
    assert found["gc-8-instance"]["encoder"] == 5_587_808
    assert found["gc-2-instance"]["generator"] == 154_852_443
    assert found["gc-8-instance"]["generator"] == 154_904_283
    # Behind the symbols c3s1-480 and d960, and twice as many channels for the first layer of the generator.
    assert found["sc-4"]["generator"] > found["gc-8-instance"]["generator"] + 9 * 960 * (960 * 2 + 480) - 9 * 8 * 960
    encode, decode = multiplications(ARCHITECTURES["gc-4-instance"])
    assert (round(encode / 1e3), round(decode / 1e3)) == (74, 657)


def test_shipped_sizes_are_small() -> None:
    for name in ("gc", "sc", "gc-8-narrow"):
        with torch.device("meta"):
            network = Network(ARCHITECTURES[name])
        assert 2 * sum(parameter.numel() for parameter in network.parameters()) < 10e6
        assert multiplications(ARCHITECTURES[name])[1] < 2e4


def test_residual_networks_begin_as_a_cosine_transform() -> None:
    network = Network(Extreme("residual", (8, 16, 24), (16,), 8))
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    pixels = torch.stack([rows, (rows + columns) / 2, columns])[None]
    with torch.no_grad():
        decoded = network.pixels(network.latents(pixels))
    assert (decoded - pixels).abs().max() < 0.08


def test_a_crop_decodes_alike_only_without_instance_norm() -> None:
    symbols = torch.randint(-2, 3, (1, 3, 12, 12), generator=torch.Generator().manual_seed(0)).float()
    changed = symbols.clone()
    changed[..., 8:] = 0
    for norm, local in (("channel", True), ("instance", False)):
        torch.manual_seed(0)
        network = Network(Extreme("pix2pix", (4,), (3,), 8, blocks=1, norm=norm)).eval()
        with torch.no_grad():
            left = [network.pixels(each)[..., :48] for each in (symbols, changed)]
        assert left[0].equal(left[1]) == local


def test_masks_are_feathered() -> None:
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 4:] = 1
    assert feathered(mask)[0, 0, 4].numpy() == pytest.approx([0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1, 1])
    assert feathered(torch.ones_like(mask)).equal(torch.ones_like(mask))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transform": "gdn"}, "transform 'gdn' is not pix2pix or residual"),
        ({"widths": (8,)}, "a residual network has 3 widths, not 1"),
        ({"channels": (4, 2)}, r"channels must rise from 1 or more to 16 at most, not \(4, 2\)"),
        ({"channels": (17,)}, "channels must rise"),
        ({"blocks": 2}, "a residual network has no number of blocks, not 2"),
        ({"classes": ("a", "a")}, "have a name twice"),
        ({"label_stride": 3}, "label_stride must be 1, 2, 4, 8 or 16, not 3"),
        ({"depth": 3}, "has no depth"),
    ],
)
def test_architectures_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Extreme.from_json({**SMALL.to_json(), **changes})


def test_architectures_survive_json() -> None:
    for architecture in (SMALL, PAPER, SELECTIVE, SELECTIVE_PAPER, *ARCHITECTURES.values()):
        assert Extreme.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
