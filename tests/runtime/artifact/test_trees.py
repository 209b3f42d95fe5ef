"""Containers: taken apart and built again; any other data is refused when read."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlc.runtime.artifact.trees import LEAF, Record, Tree, flatten, unflatten

Pair = namedtuple("Pair", "low high")
TWO = (LEAF, LEAF)
CASES: list[tuple[Tree, Any]] = [
    (LEAF, 1),
    (Tree("tuple"), ()),
    (Tree("tuple", children=TWO), (1, 2)),
    (Tree("list", children=(LEAF, Tree("tuple", children=(LEAF,)))), [1, (2,)]),
    (Tree("dict", (3, "b"), children=TWO), {3: 1, "b": 2}),
    (Tree("OrderedDict", ("b", "a"), children=TWO), OrderedDict(b=1, a=2)),
    (Tree("deque", name="5", children=TWO), deque([1, 2], 5)),
    (Tree("namedtuple", ("low", "high"), "Pair", TWO), Pair(1, 2)),
    (Tree("defaultdict", ("a",), "list", (LEAF,)), defaultdict(list, a=1)),
]
DATA = st.recursive(
    st.none()
    | st.integers(-2, 2)
    | st.sampled_from(["tuple", "dict", "object", "namedtuple", "deque", "", "a", "class"]),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize(("tree", "value"), CASES, ids=lambda v: v.describe() if isinstance(v, Tree) else "")
def test_there_and_back(tree: Tree, value: Any):
    assert Tree.from_json(json.loads(json.dumps(tree.to_json()))) == tree
    leaves: list[Any] = []
    assert flatten(tree, value, leaves) and leaves == list(range(1, tree.leaves + 1))
    built = unflatten(tree, iter(leaves))
    assert built == value and type(built).__name__ == type(value).__name__


@pytest.mark.parametrize("tree", [t for t, _ in CASES[1:]], ids=lambda t: t.describe())
def test_other_containers_do_not_fit(tree: Tree):
    for own, value in CASES:
        assert flatten(tree, value, []) == (own is tree)
    assert not flatten(LEAF, [1], []) and not flatten(tree, None, [])


def test_records():
    tree = Tree("object", ("logits",), "Answer", (LEAF,), (("loss", None),))
    record = unflatten(Tree.from_json(tree.to_json()), iter([7]))
    assert isinstance(record, Record) and record.logits == record["logits"] == record[0] == 7
    assert record.loss is None and list(record) == ["logits"] and dict(record) == {"logits": 7}
    assert repr(record) == "Answer(logits=7)" and record.to_tuple() == (7,) and len(record) == 1
    leaves: list[Any] = []
    assert flatten(tree, record, leaves) and leaves == [7]
    with pytest.raises(AttributeError, match="no field 'x'"):
        _ = record.x


@given(DATA)
def test_any_data_is_a_tree_or_refused(data: Any):
    try:
        tree = Tree.from_json(data)
    except (ValueError, TypeError):
        return
    unflatten(tree, iter(range(tree.leaves)))


@pytest.mark.parametrize(
    "data",
    [
        ["object", ["__class__"], "A", [None, None], []],
        ["object", ["a", "a"], "A", [None, None], []],
        ["namedtuple", ["import"], "A", [None], []],
        ["namedtuple", ["a b"], "A", [None], []],
        ["defaultdict", ["a"], "eval", [None], []],
        ["set", [], "", [None], []],
        ["deque", [], "x", [None], []],
        ["dict", [], "", [None], []],
    ],
)
def test_trees_that_are_none(data: Any):
    with pytest.raises(ValueError):
        Tree.from_json(data)


def test_a_deep_tree_is_refused():
    data: Any = None
    for _ in range(500):
        data = ["tuple", [], "", [data], []]
    with pytest.raises(ValueError, match="no container"):
        Tree.from_json(data)
