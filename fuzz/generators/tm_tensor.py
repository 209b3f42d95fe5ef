"""Functions around one `tm_tensor` op each, with destinations that are arguments: their contents matter."""

from __future__ import annotations

from fuzz.generators.text import Lines, tensor
from fuzz.tape import Tape
from mlc.testing.program import Program, build

KINDS = ("scan", "scatter", "sort", "topk", "attention")
SIZES = (2, 3, 1, 4, 5, 0)
FLOAT_BODIES = ("addf", "mulf", "maximumf", "minimumf", "subf")
INT_BODIES = ("addi", "muli", "maxsi", "xori", "subi")
FLOAT_ORDERS = ("ole", "oge", "olt", "ogt", "ult", "une")
INT_ORDERS = ("sle", "sge", "slt", "ugt", "ne")
DYN = -1


class _Writer:
    """One program: arguments by name, then the op."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.out = Lines()
        self.arguments: list[str] = []
        self.limits: dict[int, tuple[int, int]] = {}
        self.element = tape.pick(("f32", "f32", "i32", "f64", "f16", "i64"))
        self.floats = self.element.startswith("f")
        self.seed = tape.byte()

    def argument(self, shape: tuple[int, ...], element: str, limit: tuple[int, int] | None = None) -> str:
        if limit is not None:
            self.limits[len(self.arguments)] = limit
        name = f"%a{len(self.arguments)}"
        self.arguments.append(f"{name}: {tensor(shape, element)}")
        return name

    def shape(self, rank: int, sizes: tuple[int, ...] = SIZES) -> tuple[int, ...]:
        return tuple(self.tape.pick(sizes) for _ in range(rank))

    def region(self, types: list[str], op: str, result: str) -> str:
        """A body of one op on its first two arguments, or on the second and the first."""
        names = [f"%e{k}" for k in range(len(types))]
        a, b = (names[1], names[0]) if self.tape.chance(30) else (names[0], names[1])
        args = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
        return f"{{\n  ^bb0({args}):\n    %r = {op.format(a, b)} : {types[0]}\n    tm_tensor.yield %r : {result}\n  }}"

    def combining(self) -> str:
        return f"arith.{self.tape.pick(FLOAT_BODIES if self.floats else INT_BODIES)} {{}}, {{}}"

    def ordering(self) -> str:
        order = self.tape.pick(FLOAT_ORDERS if self.floats else INT_ORDERS)
        return f"arith.cmp{'f' if self.floats else 'i'} {order}, {{}}, {{}}"

    def scan(self) -> tuple[str, list[str]]:
        shape = self.shape(self.tape.between(1, 3))
        d = self.tape.below(len(shape))
        rest = (*shape[:d], *shape[d + 1 :])
        t, acc = tensor(shape, self.element), tensor(rest, self.element)
        x, y, z = (
            self.argument(shape, self.element),
            self.argument(shape, self.element),
            self.argument(rest, self.element),
        )
        flag = self.tape.pick(("true", "false"))
        body = self.region([self.element, self.element], self.combining(), self.element)
        head = f"dimension({d}) inclusive({flag}) ins({x} : {t}) outs({y}, {z} : {t}, {acc})"
        return f"tm_tensor.scan {head} {body}", [t, acc]

    def scatter(self) -> tuple[str, list[str]]:
        shape = self.shape(self.tape.between(1, 3), SIZES[:5])
        window = self.tape.below(len(shape))
        moved = list(range(len(shape) - window))
        extra = [d for d in range(len(shape) - window, len(shape)) if self.tape.chance(30)]
        updates = (
            self.tape.pick(SIZES),
            *(1 if d in extra else shape[d] for d in range(len(shape) - window, len(shape))),
        )
        moved += extra
        limit = min(shape[d] for d in moved) - 1
        index = self.tape.pick(("i64", "i32"))
        u, t = tensor(updates, self.element), tensor(shape, self.element)
        i = tensor((updates[0], len(moved)), index)
        a = self.argument(updates, self.element)
        b = self.argument((updates[0], len(moved)), index, (0, limit))
        c = self.argument(shape, self.element)
        body = self.region([self.element, self.element], self.combining(), self.element)
        head = f"{{dimension_map = array<i64: {', '.join(map(str, moved))}>}} unique_indices(false)"
        return f"tm_tensor.scatter {head} ins({a}, {b} : {u}, {i}) outs({c} : {t}) {body}", [t]

    def sort(self) -> tuple[str, list[str]]:
        shape = self.shape(self.tape.between(1, 2))
        d = self.tape.below(len(shape))
        kinds = [self.element, "i64"][: self.tape.between(1, 2)]
        types = [tensor(shape, e) for e in kinds]
        names = [self.argument(shape, e) for e in kinds]
        body = self.region([e for e in kinds for _ in range(2)], self.ordering(), "i1")
        outs = f"outs({', '.join(names)} : {', '.join(types)})"
        return f"tm_tensor.sort dimension({d}) {outs} {body}", types

    def topk(self) -> tuple[str, list[str]]:
        shape = self.shape(self.tape.between(1, 2))
        d = self.tape.below(len(shape))
        best = (*shape[:d], self.tape.pick((1, 2, 3)), *shape[d + 1 :])
        inputs = [(self.argument(shape, self.element), tensor(shape, self.element))]
        if self.tape.chance(50):
            inputs.append((self.argument(shape, "i32"), tensor(shape, "i32")))
        types = [tensor(best, self.element), tensor(best, "i32")]
        y, z = self.argument(best, self.element), self.argument(best, "i32")
        body = self.region([self.element, self.element], self.ordering(), "i1")
        ins = f"{', '.join(n for n, _ in inputs)} : {', '.join(t for _, t in inputs)}"
        outs = f"outs({y}, {z} : {', '.join(types)})"
        return f"tm_tensor.topk dimension({d}) ins({ins}) {outs} {body}", types

    def attention(self) -> tuple[str, list[str]]:
        element = self.element if self.floats else "f32"
        b, n, m, d, e = (self.tape.pick(SIZES[:4]) for _ in range(5))
        if self.tape.chance(20):
            n = DYN
        shapes = [(b, n, d), (b, m, d), (b, m, e)] + [(b, n, m)] * self.tape.chance(50)
        ins = [(self.argument(s, element), tensor(s, element)) for s in shapes]
        t = tensor((b, n, e), element)
        o = self.argument((b, n, e), element)
        operands = f"{', '.join(n for n, _ in ins)} : {', '.join(t for _, t in ins)}"
        return f"tm_tensor.attention ins({operands}) outs({o} : {t})", [t]


def tm_tensor_op(tape: Tape) -> Program:
    """One function."""
    kind = tape.pick(KINDS)
    writer = _Writer(tape)
    op, types = getattr(writer, kind)()
    results = ", ".join(types)
    names = ", ".join(f"%0#{k}" if len(types) > 1 else "%0" for k in range(len(types)))
    bound = f"%0:{len(types)}" if len(types) > 1 else "%0"
    text = (
        f"func.func @forward({', '.join(writer.arguments)}) -> ({results}) {{\n"
        f"  {bound} = {op} -> {results}\n  func.return {names} : {results}\n}}\n"
    )
    features = (kind, "dynamic") if "?" in text else (kind,)
    return build(text, seed=writer.seed, features=features, int_limits=writer.limits)
