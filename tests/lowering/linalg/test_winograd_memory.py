"""Which layers of a model hold transformed filters."""

from __future__ import annotations

from mlc.lowering.linalg.winograd_cost import Layer, choose
from mlc.lowering.linalg.winograd_memory import ALWAYS, MOST_FOR_MEMORY, SHARE, WORTH_SAVING, Ways, settle

MB = 1 << 20


def layer(channels: int, size: int, images: int = 1) -> Ways:
    """As many filters as channels, for a machine with vectors of 16 floats."""
    found = Layer(images, channels, channels, size, size, 16)
    return Ways(found, choose(found, None), choose(found, None, group=1))


RESNET18 = [*[layer(64, 56)] * 4, *[layer(128, 28)] * 3, *[layer(256, 14)] * 3, *[layer(512, 7)] * 3]


def held(layers: list[Ways], weight_bytes: int) -> list[bool]:
    """Whether each of `layers` holds its filters."""
    return [not choice.group for choice in settle(layers, weight_bytes)]


def test_small_ones_first_and_equal_layers_the_same_way():
    assert held(RESNET18, 45 * MB) == [True] * 4 + [False] * 9
    assert held(RESNET18, 200 * MB) == [True] * 7 + [False] * 6
    assert held(RESNET18[::-1], 45 * MB) == [False] * 9 + [True] * 4


def test_no_more_than_the_model_may_hold():
    for weights in (0, 10 * MB, 45 * MB, 100 * MB, 500 * MB):
        choices = settle(RESNET18, weights)
        taken = sum(c.filter_bytes(ways.layer) for c, ways in zip(choices, RESNET18, strict=True))
        assert taken <= SHARE * weights + ALWAYS


def test_all_of_a_small_model():
    layers = [layer(128, 28)] * 7
    assert sum(ways.nbytes() for ways in layers) <= WORTH_SAVING
    assert all(held(layers, 0))
    assert not any(held([*layers, layer(64, 14)], 0)[:7])


def test_not_where_it_would_take_much_longer():
    many = layer(512, 14, images=2)
    slow = many._replace(in_groups=choose(many.layer, None, tiles=1, group=1))
    assert slow.in_groups.cycles > MOST_FOR_MEMORY * slow.held.cycles
    assert held([many, slow], 0) == [False, True]
