"""The progress bar of long work, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(label: str, samples: int, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the bar by a number of samples; images/s and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as BarTask
    from rich.text import Text

    class Speed(ProgressColumn):
        """Images per second."""

        def render(self, task: BarTask) -> Text:
            """Return the speed as text, empty before it is known."""
            return Text(f"{task.speed:.0f} images/s" if task.speed else "")

    columns = (TextColumn(label), BarColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task(label, total=samples)
        yield lambda count: bar.advance(task, count)
