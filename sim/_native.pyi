import numpy as np
from numpy.typing import NDArray

def isa_available() -> list[str]:
    """Names of the instruction sets this CPU can run, plainest first."""

def add_row(accumulator: NDArray[np.int32], weights: NDArray[np.int8], isa: str) -> None:
    """Add one row of int8 weights to an int32 accumulator, in place."""
