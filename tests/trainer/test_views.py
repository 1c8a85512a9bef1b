"""Views: deterministic by seed, in range, and geometrically what they claim."""

from typing import Any

import pytest
import torch

from spikewright.export.ir.errors import InputError, UnknownNameError
from spikewright.trainer.colour import ColourJitter, to_grey
from spikewright.trainer.encode import over_time
from spikewright.trainer.views import POLICIES, ViewPolicy, distort, gaussian_blur, policy, solarise

NO_SUCH: Any = "jiter"


def pictures(channels=1, side=8, count=6, seed=0):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_same_seed_same_view_in_range(name, channels):
    x = pictures(channels)
    a, b = distort(x, policy(name), seeded()), distort(x, policy(name), seeded())
    assert torch.equal(a, b)
    assert a.shape == x.shape
    assert 0.0 <= float(a.min()) <= float(a.max()) <= 1.0
    if name != "none":
        assert not torch.equal(a, distort(x, policy(name), seeded(1)))


def test_none_gives_the_picture_back():
    x = pictures(3)
    torch.testing.assert_close(distort(x, policy("none"), seeded()), x, atol=1e-6, rtol=0)


def test_flip_mirrors_left_and_right():
    x = pictures(3)
    y = distort(x, ViewPolicy(flip=1.0), seeded())
    torch.testing.assert_close(y, x.flip(-1), atol=1e-6, rtol=0)


def test_whole_pixels_are_moved_as_they_are():
    x = pictures(3, count=40) + 0.1
    y = distort(x.clamp(max=1), ViewPolicy(pixels=2), seeded())
    padded = torch.nn.functional.pad(x.clamp(max=1), (2,) * 4)
    for picture, moved in zip(padded, y, strict=True):
        windows = [picture[:, r : r + 8, c : c + 8] for r in range(5) for c in range(5)]
        assert sum(torch.equal(moved, window) for window in windows) == 1


def test_cutout_paints_a_square_of_its_size_at_most():
    x = torch.zeros(50, 1, 16, 16)
    painted = (distort(x, ViewPolicy(cutout=0.5), seeded()) == 0.5).sum((1, 2, 3))
    assert int(painted.max()) == 64 and int(painted.min()) >= 16


def test_solarise_inverts_the_bright_half():
    x = torch.tensor([0.0, 0.3, 0.5, 0.9])
    torch.testing.assert_close(solarise(x), torch.tensor([0.0, 0.3, 0.5, 0.1]))


def test_translation_moves_by_whole_pixels_at_its_limit():
    x = pictures(1, side=8, count=200)
    limit = ViewPolicy(translate=0.125)  # at most one pixel of eight
    y = distort(x, limit, seeded())
    # The inner 6x6 comes from inside the picture, so its mean stays near the picture's.
    shift = (y[..., 1:-1, 1:-1].mean((1, 2, 3)) - x.mean((1, 2, 3))).abs()
    assert float(shift.max()) < 0.25
    assert float((y - x).abs().mean()) > 0.01


def test_crop_enlarges_a_part_of_the_picture():
    ramp = torch.linspace(0, 1, 16).expand(50, 1, 16, 16)
    y = distort(ramp, ViewPolicy(crop=(0.25, 0.25)), seeded())
    slope = (y[..., -2] - y[..., 1]).mean((1, 2)) / (ramp[..., -2] - ramp[..., 1]).mean((1, 2))
    # A box of a quarter of the area is 0.43 to 0.58 wide, by its aspect of 3:4 to 4:3.
    assert 0.42 < float(slope.min()) <= float(slope.max()) < 0.59


def test_rotation_stays_within_its_degrees_and_keeps_the_centre():
    dot = torch.zeros(100, 1, 9, 9)
    dot[:, :, 4, 8] = 1.0
    y = distort(dot, ViewPolicy(degrees=45.0), seeded())
    rows, columns = torch.arange(9.0)[:, None] - 4, torch.arange(9.0) - 4
    mass = y.sum((1, 2, 3)).clamp(min=1e-6)
    angle = torch.atan2((y[:, 0] * rows).sum((1, 2)) / mass, (y[:, 0] * columns).sum((1, 2)) / mass)
    seen = mass > 0.5
    assert float(angle[seen].abs().max()) < 0.86  # 45 degrees is 0.785, plus half a pixel
    assert float(angle[seen].max()) > 0.3
    assert float(angle[seen].min()) < -0.3


def test_jitter_without_strength_changes_nothing():
    x = pictures(3)
    still = ColourJitter(0.0, 0.0, 0.0, 0.0, probability=1.0)
    torch.testing.assert_close(still(x, seeded()), x, atol=1e-5, rtol=0)


def test_hue_keeps_the_luma():
    x = 0.3 + 0.2 * pictures(3)
    y = ColourJitter(0.0, 0.0, 0.0, 0.1, probability=1.0)(x, seeded())
    torch.testing.assert_close(to_grey(y), to_grey(x), atol=2e-3, rtol=0)
    assert float((y - x).abs().max()) > 0.01


def test_saturation_keeps_the_luma():
    x = 0.4 + 0.2 * pictures(3)
    y = ColourJitter(0.0, 0.0, 0.9, 0.0, probability=1.0)(x, seeded())
    torch.testing.assert_close(to_grey(y), to_grey(x), atol=1e-5, rtol=0)
    assert float((y - x).abs().max()) > 0.01


def test_repeat_holds_one_copy_and_jitter_differs_by_step():
    x = pictures()
    repeated = over_time(x, 4, "repeat", seeded())
    assert repeated.shape == (4, *x.shape)
    assert repeated.stride(0) == 0
    jittered = over_time(x, 4, "jitter", seeded())
    assert not torch.equal(jittered[0], jittered[1])
    assert torch.equal(jittered, over_time(x, 4, "jitter", seeded()))


@pytest.mark.parametrize(
    "make", [lambda: policy("colr"), lambda: over_time(pictures(), 2, NO_SUCH, seeded())]
)
def test_unknown_names_are_refused(make):
    with pytest.raises(UnknownNameError, match="did you mean"):
        make()


def test_no_views_leave_data_of_any_range_alone() -> None:
    x = torch.randn(3, 1, 4, 4) * 16
    assert torch.equal(distort(x, policy("none"), torch.Generator().manual_seed(0)), x)


def test_rotation_of_an_oblong_picture_keeps_its_shapes() -> None:
    """A disc stays a disc: its spread along any two axes is equal."""
    rows, columns = torch.arange(33.0)[:, None] - 16, torch.arange(65.0) - 32
    disc = ((rows**2 + columns**2) < 100).float().expand(60, 1, 33, 65)
    y = distort(disc, ViewPolicy(degrees=90.0), seeded())[:, 0]
    mass = y.sum((1, 2))
    spread_y, spread_x = ((y * axis**2).sum((1, 2)) / mass for axis in (rows, columns))
    torch.testing.assert_close(spread_y, spread_x, rtol=0.03, atol=0.0)
    torch.testing.assert_close(mass, disc.sum((1, 2, 3)), rtol=0.03, atol=0.0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (64, 2)])
def test_blur_takes_narrow_pictures_and_a_sigma_of_nothing(shape: tuple[int, int]) -> None:
    x = torch.rand(4, 3, *shape, generator=seeded())
    y = gaussian_blur(x, torch.tensor([0.0, 0.1, 1.0, 2.0]))
    assert y.shape == x.shape and bool(y.isfinite().all())
    torch.testing.assert_close(y[0], x[0])


def test_samples_that_are_no_pictures_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"samples of shape \[10\].*--views none"):
        distort(torch.rand(4, 10), policy("crop_flip"), torch.Generator())
    assert distort(torch.rand(4, 10), policy("none"), torch.Generator()).shape == (4, 10)
