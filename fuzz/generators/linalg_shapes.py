"""Steps of linalg programs that move, cut and select elements."""

from __future__ import annotations

from abc import ABC, abstractmethod

from fuzz.generators.bodies import constant, is_float
from fuzz.generators.linalg_base import DYN, LinalgBase
from fuzz.generators.text import affine, tensor


class LinalgShapes(LinalgBase, ABC):
    """Transposes, reshapes, slices, joins, masks."""

    @abstractmethod
    def elementwise(self) -> None:
        """What a step falls back to where it does not apply."""

    def transpose(self) -> None:
        """A permutation as the named op."""
        a = self.any_value()
        order = self.tape.shuffled(len(a.shape))
        shape = tuple(a.shape[k] for k in order)
        init = self.empty(shape, a.element)
        name = self.out.value(
            f"linalg.transpose ins({a.name}:{a.type}) outs({init}:{tensor(shape, a.element)}) permutation = {order}"
        )
        self.add("transpose", name, shape, a.element, a)

    def reshape(self) -> None:
        """expand_shape or collapse_shape of static dims."""
        a = self.any_value()
        n = len(a.shape)
        if n >= 2 and self.tape.chance(50):
            at = self.tape.below(n - 1)
            if DYN in a.shape[at : at + 2]:
                return self.elementwise()
            shape = (*a.shape[:at], a.shape[at] * a.shape[at + 1], *a.shape[at + 2 :])
            groups = [[k] for k in range(at)] + [[at, at + 1]] + [[k] for k in range(at + 2, n)]
            name = self.out.value(f"tensor.collapse_shape {a.name} {groups} : {a.type} into {tensor(shape, a.element)}")
            return self.add("collapse", name, shape, a.element, a)
        if n == 0:
            return self.elementwise()
        at = self.tape.below(n)
        if a.shape[at] == DYN:
            return self.elementwise()
        d = a.shape[at]
        factor = self.tape.pick([f for f in (1, 2, 3, 4, d) if f and d % f == 0] or [1])
        shape = (*a.shape[:at], factor, d // factor, *a.shape[at + 1 :])
        groups = [[k] for k in range(at)] + [[at, at + 1]] + [[k + 1] for k in range(at + 1, n)]
        sizes = ", ".join(self.dim() if d == DYN else str(d) for d in shape)
        name = self.out.value(
            f"tensor.expand_shape {a.name} {groups} output_shape [{sizes}] : {a.type} into {tensor(shape, a.element)}"
        )
        self.add("expand", name, shape, a.element, a)

    def pad(self) -> None:
        """Grow some dimensions."""
        a = self.any_value()
        if not a.shape:
            return self.elementwise()
        self.padded(a, [self.tape.below(3) for _ in a.shape], [self.tape.below(3) for _ in a.shape])

    def slice(self) -> None:
        """A window of a value, or a value with a window replaced."""
        a = self.any_value()
        offsets, sizes, strides = [], [], []
        for d in a.shape:
            step = self.tape.pick((1, 1, 2))
            start = self.tape.below(d) if d > 0 else 0
            room = (d - start + step - 1) // step if d > 0 else 0
            offsets.append(start)
            sizes.append(DYN if d == DYN else self.tape.between(min(1, room), room) if room else 0)
            strides.append(1 if d == DYN else step)
        if DYN in a.shape or not a.shape:
            return self.elementwise()
        shape = tuple(sizes)
        window = f"{offsets} {sizes} {strides}"
        name = self.out.value(f"tensor.extract_slice {a.name}{window} : {a.type} to {tensor(shape, a.element)}")
        self.add("extract_slice", name, shape, a.element, a)
        if self.tape.chance(40):
            self.elementwise()
            v = self.values[-1]
            if v.shape != shape or v.element != a.element:
                v = self.values[-2]
            if v.shape == shape and v.element == a.element:
                name = self.out.value(f"tensor.insert_slice {v.name} into {a.name}{window} : {v.type} into {a.type}")
                self.add("insert_slice", name, a.shape, a.element, v, a)

    def concat(self) -> None:
        """Along one dimension, with itself or a weight of another size."""
        a = self.any_value()
        static = [k for k, d in enumerate(a.shape) if d != DYN]
        if not static or DYN in a.shape:
            return self.elementwise()
        axis = self.tape.pick(static)
        other = a
        if self.tape.chance(60):
            shape = tuple(self.size() if k == axis else d for k, d in enumerate(a.shape))
            other = self.weight(shape, a.element)
        shape = tuple(d + other.shape[k] if k == axis else d for k, d in enumerate(a.shape))
        t = tensor(shape, a.element)
        name = self.out.value(f"tensor.concat dim({axis}) {a.name}, {other.name} : ({a.type}, {other.type}) -> {t}")
        self.add("concat", name, shape, a.element, a, other)

    def comparison(self) -> None:
        """A mask, then a select by it."""
        a = self.any_value()
        n = len(a.shape)
        b, at = self.operand_for(a)
        identity = affine(n, [f"d{k}" for k in range(n)])
        t, m = a.type, tensor(a.shape, "i1")
        quoted = ", ".join(['"parallel"'] * n)
        compare = "cmpf olt" if is_float(a.element) else "cmpi slt"
        mask = self.out.name()
        c = self.out.counter
        self.out.emit(
            f"{mask} = linalg.generic {{indexing_maps = [{identity}, {affine(n, at)}, {identity}], "
            f"iterator_types = [{quoted}]}}"
            f" ins({a.name}, {b.name} : {t}, {b.type}) outs({self.empty(a.shape, 'i1')} : {m}) {{"
        )
        self.out.emit(f"^bb0(%x{c}: {a.element}, %y{c}: {a.element}, %o{c}: i1):")
        self.out.emit(f"  %r{c} = arith.{compare}, %x{c}, %y{c} : {a.element}")
        self.out.emit(f"  linalg.yield %r{c} : i1")
        self.out.emit(f"}} -> {m}")
        result = self.out.name()
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{identity}, {identity}, {identity}], "
            f"iterator_types = [{quoted}]}}"
            f" ins({mask}, {a.name} : {m}, {t}) outs({self.empty(a.shape, a.element)} : {t}) {{"
        )
        self.out.emit(f"^bb0(%x{c}: i1, %y{c}: {a.element}, %o{c}: {a.element}):")
        z = constant(self.tape, self.out, a.element)
        self.out.emit(f"  %r{c} = arith.select %x{c}, %y{c}, {z} : {a.element}")
        self.out.emit(f"  linalg.yield %r{c} : {a.element}")
        self.out.emit(f"}} -> {t}")
        self.add("comparison", result, a.shape, a.element, a, b)

    def indexed(self) -> None:
        """A generic that uses its loop indices."""
        a = self.any_value()
        n = len(a.shape)
        if n == 0:
            return self.elementwise()
        identity = affine(n, [f"d{k}" for k in range(n)])
        quoted = ", ".join(['"parallel"'] * n)
        result = self.out.name()
        c = self.out.counter
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{identity}, {identity}], iterator_types = [{quoted}]}}"
            f" ins({a.name} : {a.type}) outs({self.empty(a.shape, a.element)} : {a.type}) {{"
        )
        self.out.emit(f"^bb0(%x{c}: {a.element}, %o{c}: {a.element}):")
        self.out.emit(f"  %i{c} = linalg.index {self.tape.below(n)} : index")
        self.out.emit(f"  %j{c} = linalg.index {self.tape.below(n)} : index")
        self.out.emit(f"  %m{c} = arith.cmpi {self.tape.pick(('sge', 'slt', 'eq'))}, %i{c}, %j{c} : index")
        z = constant(self.tape, self.out, a.element)
        self.out.emit(f"  %r{c} = arith.select %m{c}, %x{c}, {z} : {a.element}")
        self.out.emit(f"  linalg.yield %r{c} : {a.element}")
        self.out.emit(f"}} -> {a.type}")
        self.add("indexed", result, a.shape, a.element, a)
