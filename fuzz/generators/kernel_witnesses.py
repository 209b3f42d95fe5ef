"""Kernels on tensors that hold every op bufferization knows: what the linalg passes leave there only at times.

One kernel computes what linalg witnesses and a few of its own steps do; its last op writes the destination.
"""

from __future__ import annotations

from fuzz.generators.linalg import ALL_STEPS
from fuzz.generators.linalg_base import DYN, Value
from fuzz.generators.linalg_witnesses import WitnessGenerator
from fuzz.generators.text import affine, memref, tensor
from fuzz.tape import Tape
from mlc.testing.program import Program, build

OWN_STEPS = ("extracted", "inserted", "casts", "mirrored_pad")
STEPS = (
    *("softmax", "softmax", "pack", "pack", "broadcast", "broadcast", "reduce", "reduce", "splat", "elements"),
    *("elements", "pad", "concat", "concat", "ones", "scalar_loop", *OWN_STEPS),
)


class KernelWitnesses(WitnessGenerator):
    """@forward with one call of one kernel."""

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape, ALL_STEPS, ())
        self.dynamic = False

    def body_steps(self) -> None:
        """Steps that stay whole at this level."""
        for _ in range(self.tape.between(2, 5)):
            getattr(self, self.tape.pick(STEPS))()

    def program(self) -> Program:
        """The kernel, and the function that calls it."""
        arguments = [Value(f"%arg{k}", self.argument_shape(1), self.element) for k in range(self.tape.between(1, 2))]
        self.values = list(arguments)
        self.body_steps()
        last = self.values[-1]
        n, c, e = len(last.shape), self.out.counter, last.element
        same = affine(n, [f"d{k}" for k in range(n)])
        kinds = ", ".join(['"parallel"'] * n)
        self.out.emit(
            f"%r = linalg.generic {{indexing_maps = [{same}, {same}], iterator_types = [{kinds}]}}"
            f" ins({last.name} : {last.type}) outs(%out : {last.type}) {{"
        )
        self.out.emit(f"^bb0(%x_{c}: {e}, %o_{c}: {e}):")
        self.out.emit(f"  %y_{c} = arith.{'addf' if e.startswith('f') else 'addi'} %x_{c}, %x_{c} : {e}")
        self.out.emit(f"  linalg.yield %y_{c} : {e}")
        self.out.emit(f"}} -> {last.type}")
        signature = ", ".join(f"{a.name}: {a.type}" for a in arguments)
        names = ", ".join(a.name for a in arguments)
        types = ", ".join(a.type for a in arguments)
        text = (
            f"func.func @forward({signature}) -> {last.type} {{\n  %e = tensor.empty() : {last.type}\n"
            f"  %r = func.call @kernel({names}, %e) : ({types}, {last.type}) -> {last.type}\n"
            f"  func.return %r : {last.type}\n}}\n"
            f"func.func private @kernel({signature}, %out: {last.type}) -> {last.type} attributes {{kernel}} {{\n"
            f"{self.out.text()}\n  func.return %r : {last.type}\n}}\n"
        )
        return build(text, weights=self.data, seed=self.seed, features=tuple(self.features))

    def place(self, a: Value) -> str:
        """Indices of one element."""
        return ", ".join(self.out.value(f"arith.constant {self.tape.below(d)} : index") for d in a.shape)

    def extracted(self) -> None:
        """One element, filled into a tensor."""
        a = self.matrix()
        x = self.out.value(f"tensor.extract {a.name}[{self.place(a)}] : {a.type}")
        init = self.empty(a.shape, a.element)
        name = self.out.value(f"linalg.fill ins({x} : {a.element}) outs({init} : {a.type}) -> {a.type}")
        self.add("extract", name, a.shape, a.element, a)
        self.follow(self.values[-1])

    def inserted(self) -> None:
        """One element moved within a tensor, while the old one is read later in some."""
        a = self.matrix()
        x = self.out.value(f"tensor.extract {a.name}[{self.place(a)}] : {a.type}")
        name = self.out.value(f"tensor.insert {x} into {a.name}[{self.place(a)}] : {a.type}")
        self.add("insert", name, a.shape, a.element, a)
        if self.tape.chance(40):
            self.values.append(a)
            self.follow(a)

    def casts(self) -> None:
        """To a dynamic size and back."""
        a = self.matrix()
        open_type = tensor((DYN, *a.shape[1:]), a.element)
        wide = self.out.value(f"tensor.cast {a.name} : {a.type} to {open_type}")
        name = self.out.value(f"tensor.cast {wide} : {open_type} to {a.type}")
        self.add("cast", name, a.shape, a.element, a)
        self.follow(self.values[-1])

    def mirrored_pad(self) -> None:
        """tensor.pad whose border is computed from where it is."""
        a = self.matrix()
        c, e = self.out.counter, a.element
        shape = (a.shape[0] + 1, a.shape[1] + self.tape.below(3))
        name = self.out.name()
        self.out.emit(f"{name} = tensor.pad {a.name} low[1, 0] high[0, {shape[1] - a.shape[1]}] {{")
        self.out.emit(f"^bb0(%i_{c}: index, %j_{c}: index):")
        floats = e.startswith("f")
        whole = "i64" if floats else e
        self.out.emit(f"  %n_{c} = arith.index_cast %j_{c} : index to {whole}")
        how = f"sitofp %n_{c} : i64 to {e}" if floats else f"addi %n_{c}, %n_{c} : {e}"
        self.out.emit(f"  %g_{c} = arith.{how}")
        self.out.emit(f"  tensor.yield %g_{c} : {e}")
        self.out.emit(f"}} : {a.type} to {tensor(shape, e)}")
        self.add("mirrored_pad", name, shape, e, a)

    def ones(self) -> None:
        """A splat constant read along with a value."""
        a = self.matrix()
        literal = "1.5" if a.element.startswith("f") else "3"
        name = self.out.value(f"arith.constant dense<{literal}> : {a.type}")
        self.product(a, Value(name, a.shape, a.element, True), "mk,nk,mn")


def kernel_witnesses(tape: Tape) -> Program:
    """One kernel of ops that seldom reach it."""
    return KernelWitnesses(tape).program()


def memref_copies(tape: Tape) -> Program:
    """A kernel of copies between buffers: dense, with gaps between rows, with open sizes, empty."""
    seed = tape.byte()
    element = tape.pick(("f32", "f32", "i64", "f16", "i8"))
    sizes = (tape.pick((3, 1, 4, 0)), tape.pick((4, 17, 16, 1)))
    shown = [-1 if tape.chance(20) else n for n in sizes]
    kinds = [memref(shown, element, tape.pick(("", f"strided<[{sizes[1] + 3}, 1], offset: ?>"))) for _ in range(3)]
    signature = ", ".join(f"%a{k}: {t}" for k, t in enumerate(kinds))
    copies = [f"  memref.copy %a0, %a1 : {kinds[0]} to {kinds[1]}"]
    if tape.chance(60):
        copies.append(f"  memref.copy %a1, %a2 : {kinds[1]} to {kinds[2]}")
    body = "\n".join(copies)
    text = f"func.func private @kernel({signature}) attributes {{kernel}} {{\n{body}\n  func.return\n}}\n"
    return build(text, entry="kernel", seed=seed, features=("copy",), sizes=dict.fromkeys(range(3), sizes))
