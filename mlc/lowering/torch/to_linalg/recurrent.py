"""Recurrent layers: the steps are a loop over time; the input projection of all steps is one product before it.

gates = x @ w_ih.T + b_ih                      all steps at once
scf.for t: h, c = cell(gates[t] + h @ w_hh.T + b_hh, c); out[t] = h

Where a step has rows enough to use its weights well, both its products are one sum instead, which no memory holds:
scf.for t: h, c = cell(x[t] @ w_ih.T + h @ w_hh.T + (b_ih + b_hh), c); out[t] = h
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from xdsl.dialects import arith, math, scf, tensor
from xdsl.ir import Block, SSAValue

from mlc.lowering.torch.to_linalg.binary import binary
from mlc.lowering.torch.to_linalg.body import Body
from mlc.lowering.torch.to_linalg.dims import mlir_shape
from mlc.lowering.torch.to_linalg.dtypes import DType
from mlc.lowering.torch.to_linalg.elementwise import unary
from mlc.lowering.torch.to_linalg.matmul import linear_of, product
from mlc.lowering.torch.to_linalg.registry import Conversion, lowers
from mlc.lowering.torch.to_linalg.structured import elementwise
from mlc.lowering.torch.to_linalg.tensor import Tensor, plain
from mlc.lowering.torch.to_linalg.view import concatenated, drop_dims, sliced, transpose, unsqueeze

State = list[Tensor]

ROWS = 16
"""Rows of a step that make up for reading the weights of the input in each step: its product then runs at the limit of
the multiply-adds, and the projections of all steps need not go through memory."""


@dataclass(frozen=True)
class Cell:
    """One step: from the gates' terms and the state to the next state. `adds`: only the sum of the terms matters."""

    step: Callable[[Conversion, Sequence[Tensor], State], State]
    adds: bool = True


def _parts(c: Conversion, gates: Tensor, count: int) -> list[Tensor]:
    """Equal slices of the last dim."""
    last = gates.rank - 1
    each = c.dims.floordiv(gates.shape[last], count)
    return [sliced(c, gates, last, c.dims.mul(each, i), each) for i in range(count)]


def _lstm_step(c: Conversion, gates: Sequence[Tensor], state: State) -> State:
    """i, f, g, o gates; c' = f * c + i * g; h' = o * tanh(c')."""
    t = gates[0].dtype
    k = t.compute
    enters, forgets, freshens, leaves = zip(*(_parts(c, g, 4) for g in gates), strict=True)
    n = len(gates)

    def memory(b: Body, *v: SSAValue) -> SSAValue:
        enter = b.sigmoid(_sum(b, v[:n], k), k)
        forget = b.sigmoid(_sum(b, v[n : 2 * n], k), k)
        fresh = b.op(math.TanhOp, _sum(b, v[2 * n : 3 * n], k))
        return b.add(b.mul(forget, v[-1], k), b.mul(enter, fresh, k), k)

    def output(b: Body, *v: SSAValue) -> SSAValue:
        return b.mul(b.sigmoid(_sum(b, v[:n], k), k), b.op(math.TanhOp, v[-1]), k)

    new_c = elementwise(c, [*enters, *forgets, *freshens, state[1]], t, memory)
    return [elementwise(c, [*leaves, new_c], t, output), new_c]


def _sum(b: Body, terms: Sequence[SSAValue], t: DType) -> SSAValue:
    return reduce(lambda x, y: b.add(x, y, t), terms)


def _gru_step(c: Conversion, gates: Sequence[Tensor], state: State) -> State:
    """r, z, n gates; n = tanh(x_n + r * h_n); h' = (h - n) * z + n."""
    from_input, from_state = gates
    t = from_input.dtype
    k = t.compute
    given, hidden = _parts(c, from_input, 3), _parts(c, from_state, 3)

    def step(b: Body, *v: SSAValue) -> SSAValue:
        reset = b.sigmoid(b.add(v[0], v[1], k), k)
        update = b.sigmoid(b.add(v[2], v[3], k), k)
        fresh = b.op(math.TanhOp, b.add(v[4], b.mul(reset, v[5], k), k))
        return b.add(b.mul(b.sub(v[6], fresh, k), update, k), fresh, k)

    inputs = [x for pair in zip(given, hidden, strict=True) for x in pair]
    return [elementwise(c, [*inputs, state[0]], t, step)]


def _plain_cell(name: str) -> Cell:
    def step(c: Conversion, gates: Sequence[Tensor], state: State) -> State:
        return [unary(c, name, reduce(lambda x, y: binary(c, "add", x, y, x.dtype), gates))]

    return Cell(step)


LSTM, GRU = Cell(_lstm_step), Cell(_gru_step, adds=False)
RNN = {name: _plain_cell(name) for name in ("tanh", "relu")}


# -- single cells ------------------------------------------------------------------------------------------------


def _cell(
    c: Conversion,
    cell: Cell,
    x: Tensor,
    state: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> State:
    return cell.step(c, [linear_of(c, x, w_ih, b_ih), linear_of(c, state[0], w_hh, b_hh)], state)


@lowers("aten.lstm_cell")
def lstm_cell(
    c: Conversion,
    x: Tensor,
    state: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    h, m = _cell(c, LSTM, x, state, w_ih, w_hh, b_ih, b_hh)
    return h, m


def _state_cell(name: str, cell: Cell) -> None:
    def lower(
        c: Conversion,
        x: Tensor,
        h: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Tensor:
        return _cell(c, cell, x, [h], w_ih, w_hh, b_ih, b_hh)[0]

    lowers(f"aten.{name}")(lower)


_state_cell("gru_cell", GRU)
_state_cell("rnn_tanh_cell", RNN["tanh"])
_state_cell("rnn_relu_cell", RNN["relu"])


# -- layers ------------------------------------------------------------------------------------------------------


@dataclass
class _Weights:
    """Parameters of one direction of one layer."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    projection: Tensor | None


def _run_direction(
    c: Conversion, x: Tensor, state: State, weights: _Weights, cell: Cell, *, backward: bool
) -> tuple[Tensor, State]:
    """One direction over (time, batch, features): outputs of all steps and the last state."""
    steps, batch, _ = x.shape
    t = x.dtype
    one_sum = cell.adds and isinstance(batch, int) and batch >= ROWS and t.compute == t
    recurrent = c.permuted(weights.w_hh, (1, 0))
    c.realize(recurrent, ((0,), (1,)))  # outside of the loop
    if one_sum:
        whole_input, given = c.plain(x), c.permuted(weights.w_ih, (1, 0))
        c.realize(given, ((0,), (1,)))
        bias = None if weights.b_ih is None or weights.b_hh is None else binary(c, "add", weights.b_ih, weights.b_hh, t)
    else:
        whole_input, given, bias = c.plain(linear_of(c, x, weights.w_ih, weights.b_ih)), None, weights.b_hh
    projection = None if weights.projection is None else c.permuted(weights.projection, (1, 0))
    if projection is not None:
        c.realize(projection, ((0,), (1,)))
    state = [c.plain(s) for s in state]
    shape = (steps, batch, state[0].shape[1])
    start = [c.empty(shape, t), *(s.value for s in state)]
    block = Block(arg_types=[c.index(0).type, *(v.type for v in start)])
    at, whole, *held = block.args
    end = c.dims.sub(steps, 1)
    with c.inside(block):
        now = c.op(arith.SubiOp, c.dims.value(end), at) if backward else at
        before = [plain(v, t, s.shape) for v, s in zip(held, state, strict=True)]
        from_input = drop_dims(sliced(c, whole_input, 0, now, 1), [0])
        from_state = product(c, before[0], recurrent, None if given is None else product(c, from_input, given))
        if bias is not None:
            from_state = binary(c, "add", from_state, bias, t)
        after = cell.step(c, [from_state] if one_sum else [from_input, from_state], before)
        if projection is not None:
            after[0] = product(c, after[0], projection)
        after = [c.plain(s) for s in after]
        whole = _stored(c, unsqueeze(c, after[0], 0), whole, now)
        c.emit(scf.YieldOp(whole, *(s.value for s in after)))
    loop = c.emit(scf.ForOp(c.index(0), c.dims.value(steps), c.index(1), start, block))
    out, *last = loop.results
    return plain(out, t, shape), [plain(v, t, s.shape) for v, s in zip(last, state, strict=True)]


def _stored(c: Conversion, row: Tensor, whole: SSAValue, at: SSAValue) -> SSAValue:
    """`whole` with its row `at` replaced."""
    op = tensor.InsertSliceOp.get(
        c.plain(row).value,
        whole,
        static_sizes=list(mlir_shape(row.shape)),
        sizes=[s for s in row.shape if isinstance(s, SSAValue)],
        static_offsets=[mlir_shape((at,))[0], 0, 0],
        offsets=[at],
        static_strides=[1, 1, 1],
    )
    return c.emit(op).results[0]


def _layers(
    c: Conversion,
    x: Tensor,
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    bidirectional: bool,
    batch_first: bool,
    cell: Cell,
) -> tuple[Tensor, list[Tensor]]:
    """All layers: outputs and the last states, one tensor per kind of state."""
    if x.rank == 2:
        out, last = _layers(
            c,
            unsqueeze(c, x, 1),
            [unsqueeze(c, s, 1) for s in states],
            params,
            has_biases,
            layers,
            bidirectional,
            False,
            cell,
        )
        return drop_dims(out, [1]), [drop_dims(s, [1]) for s in last]
    if batch_first:
        x = transpose(c, x, 0, 1)
    directions = 2 if bidirectional else 1
    each = len(params) // (layers * directions)
    finals: list[list[Tensor]] = [[] for _ in states]
    for layer in range(layers):
        outputs: list[Tensor] = []
        for direction in range(directions):
            number = layer * directions + direction
            own = list(params[number * each : (number + 1) * each])
            w_ih, w_hh, *rest = own
            b_ih, b_hh = (rest.pop(0), rest.pop(0)) if has_biases else (None, None)
            weights = _Weights(w_ih, w_hh, b_ih, b_hh, rest[0] if rest else None)
            state = [drop_dims(sliced(c, s, 0, number, 1), [0]) for s in states]
            out, final = _run_direction(c, x, state, weights, cell, backward=direction == 1)
            outputs.append(out)
            for kind, value in zip(finals, final, strict=True):
                kind.append(value)
        x = concatenated(c, outputs, 2)
    stacked = [concatenated(c, [unsqueeze(c, v, 0) for v in kind], 0) for kind in finals]
    return transpose(c, x, 0, 1) if batch_first else x, stacked


def _check_dropout(c: Conversion, dropout: float, train: bool) -> None:
    if dropout and train:
        raise c.refuse("dropout in training mode draws random numbers", hint="call model.eval() first")


@lowers("aten.lstm.input")
def lstm(
    c: Conversion,
    x: Tensor,
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    _check_dropout(c, dropout, train)
    out, (h, m) = _layers(c, x, states, params, has_biases, layers, bidirectional, batch_first, LSTM)
    return out, h, m


def _recurrent(name: str, cell: Cell) -> None:
    def lower(
        c: Conversion,
        x: Tensor,
        state: Tensor,
        params: Sequence[Tensor],
        has_biases: bool,
        layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, Tensor]:
        _check_dropout(c, dropout, train)
        out, (h,) = _layers(c, x, [state], params, has_biases, layers, bidirectional, batch_first, cell)
        return out, h

    lowers(f"aten.{name}.input")(lower)


_recurrent("gru", GRU)
_recurrent("rnn_tanh", RNN["tanh"])
_recurrent("rnn_relu", RNN["relu"])
