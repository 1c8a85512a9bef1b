"""Write `digits.npz` beside this file from scikit-learn's copy: ``python make_digits.py``.

Arrays: x uint8 [1797, 8, 8] in 0..16, y uint8 [1797], order uint16 [1797], the permutation that
`digits.py` splits. Needs scikit-learn, which nothing else here does.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

SPLIT_SEED = 20251118


def main() -> None:
    """Write the file."""
    bunch = import_module("sklearn.datasets").load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(bunch.target))
    np.savez_compressed(
        Path(__file__).with_name("digits.npz"),
        x=bunch.images.astype(np.uint8),
        y=bunch.target.astype(np.uint8),
        order=order.astype(np.uint16),
    )


if __name__ == "__main__":
    main()
