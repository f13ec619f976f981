"""Discriminators and adversarial losses, against examples that are written out."""

from __future__ import annotations

import math
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from aquatint.errors import UsageError  # noqa: E402
from aquatint.training.adversarial import losses  # noqa: E402
from aquatint.training.adversarial.discriminator import Condition  # noqa: E402
from aquatint.training.adversarial.patchgan import PatchGAN  # noqa: E402
from aquatint.training.adversarial.unet import LabelUNet  # noqa: E402

torch.set_num_threads(1)  # the networks are small


def test_non_saturating_losses_of_two_logits() -> None:
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0])
    sigmoid = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    assert float(losses.non_saturating_generator(fake)) == pytest.approx((math.log(2) - math.log(sigmoid[1])) / 2)
    expected = (math.log(2) - math.log(sigmoid[0])) / 2 + (math.log(2) - math.log(1 - sigmoid[1])) / 2
    assert float(losses.non_saturating_discriminator(real, fake)) == pytest.approx(expected)


def test_non_saturating_gradients_are_those_of_probabilities() -> None:
    fake = torch.tensor([3.0, -3.0], requires_grad=True)
    losses.non_saturating_generator(fake).backward()
    # d(-log s(x)) / dx = s(x) - 1, over two logits: large for what is found out, which is why it does not saturate.
    assert fake.grad is not None
    assert fake.grad.tolist() == pytest.approx([(torch.sigmoid(v).item() - 1) / 2 for v in fake])


def test_least_squares_losses_of_two_logits() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5, -2.0])
    assert float(losses.least_squares_generator(fake)) == pytest.approx((0.25 + 9) / 2)
    assert float(losses.least_squares_discriminator(real, fake)) == pytest.approx((0 + 4) / 2 + (0.25 + 4) / 2)


def test_label_losses_of_two_patches() -> None:
    # Two labels: classes are fake, label 0, label 1. One picture of two patches.
    real = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 2)
    fake = torch.tensor([[0.0, 0.0, 0.0], [2.0, 1.0, 0.0]]).T.reshape(1, 3, 1, 2)
    labels = torch.tensor([[[1, 0]]])

    def loss(row: list[float], which: int) -> float:
        return math.log(sum(map(math.exp, row))) - row[which]

    of_real = (loss([0, 1, 2], 2) + loss([1, 0, 0], 1)) / 2
    of_fake = (loss([0, 0, 0], 0) + loss([2, 1, 0], 0)) / 2
    assert float(losses.label_discriminator(real, labels, fake)) == pytest.approx((of_real + of_fake) / 2)
    of_generator = (loss([0, 0, 0], 2) + loss([2, 1, 0], 1)) / 2
    assert float(losses.label_generator(fake, labels)) == pytest.approx(of_generator)


def test_label_gradients_raise_the_right_class() -> None:
    fake = torch.zeros(1, 4, 1, 1, requires_grad=True)
    losses.label_generator(fake, torch.tensor([[[2]]])).backward()
    assert fake.grad is not None
    assert fake.grad.flatten().tolist() == pytest.approx([0.25, 0.25, 0.25, -0.75])


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_discriminators_have_the_sizes_of_the_papers() -> None:
    # A convolution of k x k from i to o channels has o (i k k + 1) parameters.
    patches = 12 * (220 * 9 + 1) + 64 * (15 * 16 + 1) + 128 * (64 * 16 + 1) + 256 * (128 * 16 + 1)
    patches += 512 * (256 * 16 + 1) + 512 * 16 + 1
    with torch.device("meta"):
        assert count(LabelUNet(220, 1024)) == 17_877_073
    assert count(PatchGAN(220)) == patches == 2_800_797


def test_one_logit_for_8x8_pixels_and_label() -> None:
    logits = LabelUNet(5, 7, width=4)(torch.rand(2, 3, 64, 128), torch.rand(2, 5, 4, 8))
    assert logits.shape == (2, 8, 8, 16)
    assert PatchGAN(5, width=4)(torch.rand(2, 3, 64, 128), torch.rand(2, 5, 4, 8)).shape == (2, 1, 6, 14)


@pytest.mark.parametrize("make", [lambda: PatchGAN(5, width=4), lambda: LabelUNet(5, 7, width=4)])
def test_each_picture_is_judged_with_its_own_latents(make) -> None:
    torch.manual_seed(0)
    judge = make().eval()
    pixels, latents = torch.rand(3, 3, 64, 64), torch.randn(3, 5, 4, 4)
    together = judge(pixels, latents)
    for k in range(3):
        alone = judge(pixels[k : k + 1], latents[k : k + 1])
        assert torch.allclose(together[k : k + 1], alone, atol=1e-5)
    others = judge(pixels, latents.roll(1, 0))
    assert float((others - together).detach().abs().max()) > 1e-3
    with pytest.raises(ValueError, match="each of 3 pictures needs its own latents, not 2"):
        judge(pixels, latents[:2])


def test_no_gradient_goes_back_to_the_latents() -> None:
    judge = PatchGAN(5, width=4)
    pixels = torch.rand(1, 3, 32, 32, requires_grad=True)
    latents = torch.rand(1, 5, 2, 2, requires_grad=True)
    judge.generator_loss(judge(pixels, latents), None).backward()
    assert pixels.grad is not None
    assert float(pixels.grad.abs().max()) > 0
    assert latents.grad is None


def test_latents_lie_over_their_pixels() -> None:
    condition = Condition(1, 1)
    assert condition.layer is not None
    torch.nn.init.zeros_(condition.layer.weight)
    condition.layer.weight.data[0, 0, 1, 1] = 1
    torch.nn.init.zeros_(condition.layer.bias)
    latents = torch.tensor([[[[1.0, -1.0], [2.0, 3.0]]]])
    seen = condition(torch.full((1, 3, 32, 32), 0.75), latents)
    assert seen.shape == (1, 4, 32, 32)
    assert torch.equal(seen[:, :3], torch.full((1, 3, 32, 32), 0.5))
    corners = [float(seen[0, 3, y, x].detach()) for y in (0, 31) for x in (0, 31)]
    assert corners == pytest.approx([1.0, -0.2, 2.0, 3.0])


def test_spectral_norms_are_one() -> None:
    torch.manual_seed(0)
    judge = PatchGAN(5, width=4)
    for _ in range(60):  # one step of the power iteration each
        judge(torch.rand(1, 3, 32, 32), torch.rand(1, 5, 2, 2))
    judge.eval()
    weights = [layer.weight for layer in judge.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(weights) == 6
    for weight in weights:
        assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (partial(PatchGAN, 0, width=8), None),
        (partial(PatchGAN, 0, width=8, loss="least-squares"), None),
        (partial(LabelUNet, 0, 3, width=8), torch.tensor([2, 0]).repeat_interleave(64).view(2, 8, 8)),
    ],
)
def test_a_discriminator_learns_to_tell_noise_from_flat_pictures(make, labels) -> None:
    torch.manual_seed(0)
    judge = make()
    generator = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(judge.parameters(), 1e-3, (0.5, 0.9))
    flat = torch.tensor([0.2, 0.8])[:, None, None, None].expand(2, 3, 64, 64)
    losses_ = []
    for _ in range(25):
        real, fake = judge(flat, None), judge(torch.rand(2, 3, 64, 64, generator=generator), None)
        loss = judge.discriminator_loss(real, fake, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses_.append(float(loss.detach()))
    assert losses_[-1] < 0.75 * losses_[0]
    # What was found out costs the generator more than what passes.
    with torch.no_grad():
        found_out = judge.generator_loss(judge(torch.rand(2, 3, 64, 64, generator=generator), None), labels)
        passing = judge.generator_loss(judge(flat, None), labels)
    assert float(found_out) > float(passing)


def test_a_loss_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="'hinge' is not one of non-saturating, least-squares"):
        PatchGAN(0, loss="hinge")
