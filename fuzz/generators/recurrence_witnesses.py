"""Loops that carry a state and collect a row of each step, as recurrent layers leave them, and near misses of them."""

from __future__ import annotations

from fuzz.generators.linalg_base import Value
from fuzz.generators.linalg_witness_pieces import WitnessPieces
from fuzz.generators.text import affine, tensor


class RecurrenceWitnesses(WitnessPieces):
    """Steps that are `scf.for` loops over whole tensors."""

    def recurrence(self) -> None:
        """state = f(a, state); row = state, g(state, a), or one that reads the old state too; rows join along a dim.

        Some states and rows are carried in another shape, some reads go across the state, some rows are carried on as
        well, some are written from the end, at a place known late, or into what is read in the same trip.
        """
        tape = self.tape
        a = self.square() if tape.chance(40) else self.matrix()
        k, e, (m, n) = self.out.counter, a.element, a.shape
        trips, flat, along = tape.pick((3, 1, 2)), tape.chance(40), tape.pick((0, 0, 1))
        late, row = tape.chance(15), tape.pick(("h", "h", "next", "after"))
        whole = (trips, m, n) if along == 0 else (m, trips, n)
        state_t, whole_t = tensor((m * n,) if flat else (m, n), e), tensor(whole, e)
        zero, one, count = (self.out.value(f"arith.constant {v} : index") for v in (0, 1, trips))
        start = a.name
        if flat:
            start = self.out.value(f"tensor.collapse_shape {a.name} [[0, 1]] : {a.type} into {state_t}")
        rows = self.empty(whole, e) if tape.chance(50) else self.fill(whole, e, 1.0)
        carried = f"{state_t}, {a.type}, {whole_t}"
        self.out.emit(
            f"%loop_{k}:3 = scf.for %i_{k} = {zero} to {count} step {one} iter_args(%c_{k} = {start}, "
            f"%h_{k} = {a.name}, %all_{k} = {rows}) -> ({carried}) {{"
        )
        self.out.depth += 1
        at = self.from_the_end(f"%i_{k}", one, count) if not late and tape.chance(30) else f"%i_{k}"
        old = f"%c_{k}"
        if flat:
            shape = f"output_shape [{m}, {n}] : {state_t} into {a.type}"
            old = self.out.value(f"tensor.expand_shape {old} [[0, 1]] {shape}")
        across = m == n and tape.chance(40)
        made = {"next": self.combined(a.name, old, (m, n), e, across=across)}
        made["h"] = self.combined(made["next"], tape.pick((a.name, f"%h_{k}")), (m, n), e)
        made["after"] = self.combined(made["h"], old, (m, n), e) if row == "after" else made["h"]
        if late:
            at = self.from_the_end(f"%i_{k}", one, count)
        into, given = f"%all_{k}", tape.chance(40)
        if tape.chance(10):
            into = self.combined(into, into, whole, e)
        piece, kind = made[row], a.type
        if tape.chance(60):  # the row with the dim that rows join along
            kind = tensor((1, m, n) if along == 0 else (m, 1, n), e)
            groups = "[[0, 1], [2]]" if along == 0 or tape.chance(50) else "[[0], [1, 2]]"
            shape = f"output_shape [{'1, ' if along == 0 else ''}{m}, {'1, ' if along else ''}{n}]"
            piece = self.out.value(f"tensor.expand_shape {piece} {groups} {shape} : {a.type} into {kind}")
        offsets, sizes = (f"{at}, 0, 0", f"1, {m}, {n}") if along == 0 else (f"0, {at}, 0", f"{m}, 1, {n}")
        joined = self.out.value(
            f"tensor.insert_slice {piece} into {into}[{offsets}] [{sizes}] [1, 1, 1] : {kind} into {whole_t}"
        )
        following = made["next"]
        if flat:
            following = self.out.value(f"tensor.collapse_shape {following} [[0, 1]] : {a.type} into {state_t}")
        on = made[row] if given else f"%h_{k}"
        self.out.emit(f"scf.yield {following}, {on}, {joined} : {carried}")
        self.out.depth -= 1
        self.out.emit("}")
        self.add("recurrence", f"%loop_{k}#1", (m, n), e, a)
        self.add("recurrence", f"%loop_{k}#2", whole, e, a)
        if not flat:
            self.add("recurrence", f"%loop_{k}#0", (m, n), e, a)
        if tape.chance(40):
            self.follow(self.values[-1])

    def square(self) -> Value:
        """A value that can be read across."""
        n = self.tape.pick((2, 3, 4))
        return self.computed(self.weight((n, n), self.element))

    def from_the_end(self, trip: str, one: str, count: str) -> str:
        """Rows from the last to the first."""
        back = self.out.value(f"arith.subi {count}, {trip} : index")
        return self.out.value(f"arith.subi {back}, {one} : index")

    def combined(self, a: str, b: str, shape: tuple[int, ...], e: str, *, across: bool = False) -> str:
        """a + b, element by element; `across`: with b read in the other order of its dims."""
        n, c, t = len(shape), self.out.counter, tensor(shape, e)
        same, turned = (affine(n, [f"d{d}" for d in order]) for order in (range(n), reversed(range(n))))
        init, result = self.empty(shape, e), self.out.name()
        kinds = ", ".join(['"parallel"'] * n)
        self.out.emit(
            f"{result} = linalg.generic {{indexing_maps = [{same}, {turned if across else same}, {same}], "
            f"iterator_types = [{kinds}]}} ins({a}, {b} : {t}, {t}) outs({init} : {t}) {{"
        )
        self.out.emit(f"^bb0(%l_{c}: {e}, %r_{c}: {e}, %o_{c}: {e}):")
        self.out.emit(f"  %s_{c} = arith.{'addf' if e.startswith('f') else 'addi'} %l_{c}, %r_{c} : {e}")
        self.out.emit(f"  linalg.yield %s_{c} : {e}")
        self.out.emit(f"}} -> {t}")
        return result
