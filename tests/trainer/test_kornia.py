"""Views beside kornia, where it is installed: the same operations on the same pictures."""

import pytest
import torch

from spikewright.trainer.colour import to_grey
from spikewright.trainer.views import ViewPolicy, distort, gaussian_blur, solarise

kornia = pytest.importorskip("kornia", reason="the yardstick is not installed: pip install kornia")


def pictures(side=32):
    return torch.rand(6, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_grey():
    torch.testing.assert_close(to_grey(pictures()), kornia.color.rgb_to_grayscale(pictures()))


def test_flip():
    y = distort(pictures(), ViewPolicy(flip=1.0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(y, kornia.geometry.transform.hflip(pictures()))


def test_solarise():
    expected = kornia.enhance.solarize(pictures(), 0.5)
    torch.testing.assert_close(solarise(pictures()), expected)


@pytest.mark.parametrize("side", [16, 32, 96])
def test_blur(side):
    sigma = torch.tensor([0.1, 0.4, 0.8, 1.2, 1.6, 2.0])
    width = max(3, side // 10 | 1)
    expected = kornia.filters.gaussian_blur2d(
        pictures(side), (width, width), sigma[:, None].expand(-1, 2), border_type="reflect"
    )
    torch.testing.assert_close(gaussian_blur(pictures(side), sigma), expected)
