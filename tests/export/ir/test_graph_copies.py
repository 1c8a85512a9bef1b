"""Graphs and nodes are copied, deep-copied and pickled whole, their arrays read-only as before."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from spikewright.export.ir import PROFILES, FormatError, Graph, GraphError
from spikewright.export.ir.digest import digest
from tests.fuzz.graphs import random_graph


def pickled(value: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Any:
    return pickle.loads(pickle.dumps(value, protocol))  # noqa: S301 -- made in the same line


COPIES: dict[str, Callable[[Graph], Graph]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": partial(pickled, protocol=n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_the_same_network(how: str) -> None:
    for seed in range(20):
        graph = random_graph(np.random.default_rng(seed))
        graph = graph.replace(profile=PROFILES["loihi2"], metadata={"nested": {"a": [1]}})
        assert graph.shapes, "what is computed once and kept hinders no copy"
        found = COPIES[how](graph)
        assert digest(found) == digest(graph) and found.metadata == graph.metadata
        assert found.order == graph.order and found.edges == graph.edges
        assert found.profile == graph.profile and found.level == graph.level
        for node in found.nodes.values():
            for name in node.array_fields:
                value = getattr(node, name)
                assert value is None or not value.flags.writeable


def test_a_deep_copy_shares_no_metadata() -> None:
    graph = random_graph(np.random.default_rng(0)).replace(metadata={"nested": {"a": [1]}})
    copy.deepcopy(graph).metadata["nested"]["a"].append(2)
    assert graph.metadata["nested"]["a"] == [1]


def test_a_graph_goes_to_another_process_and_back() -> None:
    graph = random_graph(np.random.default_rng(3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(digest, (graph,)) == digest(graph)


def test_errors_are_copied_with_all_they_say() -> None:
    for error in (GraphError("a", node="b", remedy="c"), FormatError("a")):
        found = pickled(error)
        assert str(found) == str(error) and found.__dict__ == error.__dict__
