"""Values of Python survive being saved, and only they: anything else read from a file is a ValueError."""

from __future__ import annotations

import enum
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlc.runtime.artifact.values import Other, from_json, other, same_value, to_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["tuple", "float", "range", "slice", "complex", "bytes", "other"]), inner, max_size=2
        )
    ),
    max_leaves=8,
)


class Colour(enum.Enum):
    RED = 1


@given(PLAIN)
def test_plain_values_come_back(value: object):
    assert same_value(from_json(json.loads(json.dumps(to_json(value)))), value)


@pytest.mark.parametrize("value", [range(1, 9, 2), slice(None, 3), ...])
def test_ranges(value: object):
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize(
    "value", [torch.float32, torch.device("cpu"), torch.channels_last, torch.Size([1, 2]), Colour.RED, np.float32(0.5)]
)
def test_values_of_other_classes_are_known_by_their_text(value: object):
    kept = from_json(json.loads(json.dumps(to_json((value,)))))
    assert isinstance(kept[0], Other) and kept[0] == other(value)
    assert same_value(kept, (value,)) and not same_value(kept, (str(value),)) and not same_value(kept, (None,))


def test_values_of_one_class_are_told_apart():
    assert not same_value(0.0, -0.0) and not same_value(1, True) and not same_value(1, 1.0)
    assert not same_value(from_json(to_json(torch.int8)), torch.int16)


@pytest.mark.parametrize("value", [object(), [1], {1}, {"a": 1}, (object(),), lambda: 0, np.zeros(3)])
def test_what_cannot_be_kept(value: object):
    with pytest.raises(TypeError):
        to_json(value)


@given(ANY_JSON)
def test_any_data_is_a_value_or_refused(data: object):
    try:
        from_json(data)
    except (ValueError, TypeError, OverflowError):
        return
