"""Meaning of ATen's recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlc.dialects.torch.numpy_values import Call, aten, round_to, wide
from mlc.dialects.torch.semantics_elementwise import sigmoid
from mlc.dialects.torch.semantics_nn import product
from mlc.errors import UnsupportedError

_Step = Callable[[np.ndarray, tuple[np.ndarray, ...], list[np.ndarray]], tuple[np.ndarray, ...]]


def _gates(x: np.ndarray, h: np.ndarray, w: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Input and hidden contributions."""
    from_x, from_h = product(x, w[0].T), product(h, w[1].T)
    return (from_x + wide(w[2]), from_h + wide(w[3])) if len(w) > 2 else (from_x, from_h)


def lstm_step(x: np.ndarray, state: tuple[np.ndarray, ...], w: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Gates i, f, g, o."""
    a, b = _gates(x, state[0], w)
    i, f, g, o = np.split(a + b, 4, axis=-1)
    cell = sigmoid(f) * wide(state[1]) + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def gru_step(x: np.ndarray, state: tuple[np.ndarray, ...], w: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Gates r, z, n."""
    a, b = _gates(x, state[0], w)
    (ar, az, an), (br, bz, bn) = np.split(a, 3, axis=-1), np.split(b, 3, axis=-1)
    z = sigmoid(az + bz)
    n = np.tanh(an + sigmoid(ar + br) * bn)
    return (n + z * (wide(state[0]) - n),)


def _rnn_step(fn: Callable[[np.ndarray], np.ndarray]) -> _Step:
    def step(x: np.ndarray, state: tuple[np.ndarray, ...], w: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        a, b = _gates(x, state[0], w)
        return (fn(a + b),)

    return step


def _run_layers(
    c: Call,
    step: _Step,
    x: np.ndarray,
    states: list[np.ndarray],
    weights: Any,
    biases: bool,
    layers: int,
    train: bool,
    dropout: float,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[np.ndarray, ...]:
    """The sequence of hidden states of the last layer, and each layer's last states."""
    if train and dropout:
        raise UnsupportedError("recurrent dropout draws random numbers", hint="call model.eval() first")
    directions, each = 2 if bidirectional else 1, 4 if biases else 2
    if len(weights) != layers * directions * each:
        raise UnsupportedError("an LSTM with projections has no reference semantics")
    if batch_first and x.ndim == 3:
        x = x.swapaxes(0, 1)
    last: list[list[np.ndarray]] = [[] for _ in states]
    for layer in range(layers):
        sides: list[np.ndarray] = []
        for direction in range(directions):
            number = layer * directions + direction
            w = list(weights[number * each : (number + 1) * each])
            state = tuple(s[number] for s in states)
            hidden: list[np.ndarray] = []
            for row in x[::-1] if direction else x:
                state = tuple(round_to(s, c.element()) for s in step(row, state, w))
                hidden.append(state[0])
            for kept, s in zip(last, state, strict=True):
                kept.append(s)
            sides.append(np.stack(hidden[::-1] if direction else hidden))
        x = np.concatenate(sides, axis=-1)
    out = x.swapaxes(0, 1) if batch_first and x.ndim == 3 else x
    return (out, *(np.stack(s) for s in last))


@aten("lstm.input")
def lstm(
    c: Call,
    x: np.ndarray,
    hx: Any,
    weights: Any,
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """Long short-term memory over a sequence."""
    return _run_layers(c, lstm_step, x, list(hx), weights, biases, layers, train, dropout, bidirectional, batch_first)


def _register_rnn(name: str, step: _Step) -> None:
    def run(
        c: Call,
        x: np.ndarray,
        hx: np.ndarray,
        weights: Any,
        biases: bool,
        layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        return _run_layers(c, step, x, [hx], weights, biases, layers, train, dropout, bidirectional, batch_first)

    aten(f"{name}.input")(run)
    aten(f"{name}_cell")(lambda _c, x, hx, *weights: step(x, (hx,), [w for w in weights if w is not None])[0])


_register_rnn("gru", gru_step)


_register_rnn("rnn_tanh", _rnn_step(np.tanh))


_register_rnn("rnn_relu", _rnn_step(lambda x: np.maximum(x, 0)))


@aten("lstm_cell")
def lstm_cell(
    _c: Call, x: np.ndarray, hx: Any, w_ih: np.ndarray, w_hh: np.ndarray, b_ih: Any = None, b_hh: Any = None
) -> Any:
    """One step of an LSTM."""
    return lstm_step(x, tuple(hx), [w_ih, w_hh] if b_ih is None else [w_ih, w_hh, b_ih, b_hh])
