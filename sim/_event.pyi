from typing import Any

from numpy.typing import NDArray

def run(
    fields: NDArray[Any],
    start: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any],
    late_start: NDArray[Any],
    late_target: NDArray[Any],
    late_weight: NDArray[Any],
    late_lag: NDArray[Any],
    longest_lag: int,
    event_start: NDArray[Any],
    events: NDArray[Any],
    counts: NDArray[Any],
    v: NDArray[Any],
    readout: NDArray[Any],
) -> int:
    """Return the longest that the queue was; write counts, v and readout."""
