"""Witnesses of the passes that choose data layouts and take named ops apart."""

from __future__ import annotations

from fuzz.generators.linalg_base import Value
from fuzz.generators.linalg_witness_pieces import WitnessPieces
from fuzz.generators.text import affine, tensor


class LayoutWitnesses(WitnessPieces):
    """Packed products, blocked images, named ops."""

    # --- packed products

    def transposed_weight(self) -> None:
        """A product with the transpose of a constant, of some rows, and of one and of blocks of rows."""
        a = self.matrix()
        self.product_with_transpose(a)
        if self.tape.chance(90):
            for rows in (1, 8, self.tape.pick((1, 12, 9))):
                self.product_with_transpose(self.computed(self.weight((rows, a.shape[1]), a.element)))

    def product_with_transpose(self, a: Value) -> None:
        """The product; near misses: a computed weight, a transpose that is none."""
        k, n = a.shape[1], self.tape.pick((16, 17, 32, 8, 4, 3))
        order = [1, 0]
        if self.tape.chance(15):
            n, order = k, [0, 1]
        w = self.weight((n, k) if order == [1, 0] else (k, n), a.element)
        if self.tape.chance(15):
            w = self.computed(w)
        t = tensor((k, n), a.element)
        init = self.empty((k, n), a.element)
        name = self.out.value(f"linalg.transpose ins({w.name}:{w.type}) outs({init}:{t}) permutation = {order}")
        self.named("linalg.matmul", "matmul", [a, Value(name, (k, n), a.element, w.constant)], (a.shape[0], n))
        if self.tape.chance(70):
            self.follow(self.values[-1])

    def weight_both_ways(self) -> None:
        """A product with a matrix and then one with its transpose; columns fill vectors or do not."""
        a = self.matrix()
        e, sizes = a.element, (a.shape[0], self.tape.pick((16, 17, 8)), self.tape.pick((16, 32, 17)))
        self.named("linalg.matmul", "matmul", [a, self.weight((a.shape[1], sizes[1]), e)], sizes[:2])
        w, t = self.weight(sizes[1:], e), tensor((sizes[2], sizes[1]), e)
        init = self.empty((sizes[2], sizes[1]), e)
        name = self.out.value(f"linalg.transpose ins({w.name}:{w.type}) outs({init}:{t}) permutation = [1, 0]")
        self.named("linalg.matmul", "matmul", [self.values[-1], w], (sizes[0], sizes[2]))
        back = Value(name, (sizes[2], sizes[1]), e, w.constant)
        self.named("linalg.matmul", "matmul", [self.values[-1], back], sizes[:2])

    def product_of_weights(self) -> None:
        """A product with a product of two constants, as it is or the result of an elementwise op."""
        a = self.matrix()
        e, k, n = a.element, self.tape.pick((16, 8, 17)), self.tape.pick((16, 32, 17, 4))
        self.named(
            "linalg.matmul", "matmul", [self.weight((a.shape[1], k), e), self.weight((k, n), e)], (a.shape[1], n)
        )
        if self.tape.chance(30):
            self.follow(self.values[-1])
        self.named("linalg.matmul", "matmul", [a, self.values[-1]], (a.shape[0], n))

    def tied_weight(self) -> None:
        """A product with a constant, plain or transposed, of which single elements are read too: few in most."""
        a = self.matrix()
        k, n = a.shape[1], self.tape.pick((32, 48, 33, 17, 16))
        w = self.weight((n, k), a.element) if self.tape.chance(60) else self.weight((k, n), a.element)
        if self.tape.chance(15):
            self.follow(w)
        rows, columns = self.tape.pick((1, 2, 1, 3)), self.tape.pick((1, 2, 1, k))
        shape = (min(rows, w.shape[0]), min(columns, w.shape[1]))
        c, e, kind = self.out.counter, a.element, tensor(shape, a.element)
        init, name = self.empty(shape, e), self.out.name()
        maps = f"[{affine(2, ['d0', 'd1'])}]"
        self.out.emit(f"{name} = linalg.generic {{indexing_maps = {maps},")
        self.out.emit(f'iterator_types = ["parallel", "parallel"]}} outs({init}:{kind}) {{')
        self.out.emit(f"^bb0(%o_{c}: {e}):")
        for d in (0, 1):
            self.out.emit(f"  %i{d}_{c} = linalg.index {d} : index")
            self.out.emit(f"  %last{d}_{c} = arith.constant {w.shape[d] - 1} : index")
            self.out.emit(f"  %back{d}_{c} = arith.subi %last{d}_{c}, %i{d}_{c} : index")
        at = [f"%{self.tape.pick(('i', 'back'))}{d}_{c}" for d in (0, 1)]
        self.out.emit(f"  %x_{c} = tensor.extract {w.name}[{', '.join(at)}] : {w.type}")
        self.out.emit(f"  linalg.yield %x_{c} : {e}")
        self.out.emit(f"}} -> {kind}")
        self.add("gather", name, shape, e, w)
        columns_first = w
        if w.shape == (n, k):
            t, turned = tensor((k, n), e), self.empty((k, n), e)
            product = self.out.value(f"linalg.transpose ins({w.name}:{w.type}) outs({turned}:{t}) permutation = [1, 0]")
            columns_first = Value(product, (k, n), e, w.constant)
        self.named("linalg.matmul", "matmul", [a, columns_first], (a.shape[0], n))

    def computed_product(self) -> None:
        """A product of two computed matrices, or of batches of them; few rows, odd terms and narrow ones in some."""
        e, batch = self.element, (self.tape.pick((2, 3)),) if self.tape.chance(50) else ()
        m, k, n = (
            self.tape.pick((16, 17, 20, 16, 9)),
            self.tape.pick((4, 8, 2, 4, 5)),
            self.tape.pick((16, 17, 4, 16, 3)),
        )
        a = self.late_argument((*batch, m, k), e)
        if self.tape.chance(30):
            a = self.follow(a, extra=False)
        b = self.late_argument((*batch, k, n), e)
        if self.tape.chance(40):
            source, t = self.late_argument((*batch, n, k), e), tensor((*batch, k, n), e)
            order = [0, 2, 1] if batch else [1, 0]
            init = self.empty((*batch, k, n), e)
            name = self.out.value(
                f"linalg.transpose ins({source.name}:{source.type}) outs({init}:{t}) permutation = {order}"
            )
            b = Value(name, (*batch, k, n), e)
        kind = "batch_matmul" if batch else "matmul"
        self.named(f"linalg.{kind}", kind, [a, b], (*batch, m, n))
        if self.tape.chance(50):
            self.follow(self.values[-1])

    def biased_product(self) -> None:
        """A product with a constant, and what follows it."""
        a = self.matrix()
        n = self.tape.pick((16, 17, 32, 8, 4, 3))
        self.named("linalg.matmul", "matmul", [a, self.weight((a.shape[1], n), a.element)], (a.shape[0], n))
        for _ in range(self.tape.between(1, 2)):
            self.follow(self.values[-1])

    # --- blocked images

    def blocked(self) -> Value:
        """A convolution whose channels fill whole blocks, or miss them by little."""
        x = self.matrix(4)
        f, size = self.tape.pick((16, 32, 8, 16, 17)), self.tape.pick((1, 3))
        if min(x.shape[2:]) < size:
            size = 1
        w = self.weight((f, x.shape[1], size, size), x.element)
        shape = (x.shape[0], f, *(n - size + 1 for n in x.shape[2:]))
        one = "dense<1> : tensor<2xi64>"
        attrs = f"{{dilations = {one}, strides = {one}}} "
        self.named("linalg.conv_2d_nchw_fchw", "convolution", [x, w], shape, attrs)
        return self.values[-1]

    def blocked_elementwise(self) -> None:
        """An elementwise op of a blocked value."""
        self.follow(self.blocked(), extra=False)

    def blocked_reduction(self) -> None:
        """A sum over space, or over channels."""
        a = self.blocked()
        dropped = self.tape.pick(((2, 3), (3,), (1,), (1, 2, 3)))
        kept = [k for k in range(4) if k not in dropped]
        shape = tuple(a.shape[k] for k in kept)
        maps = [affine(4, [f"d{k}" for k in range(4)]), affine(4, [f"d{k}" for k in kept])]
        kinds = ["reduction" if k in dropped else "parallel" for k in range(4)]
        combine = self.tape.pick(("addf", "maximumf") if a.element.startswith("f") else ("addi", "maxsi"))
        start = {"maximumf": float("-inf"), "maxsi": -100}.get(combine, 0.0)
        init = self.fill(shape, a.element, start)
        self.generic(maps, kinds, [a], [f"%x{self.out.counter}"], init, shape, a.element, combine)
        self.add("reduction", self.last, shape, a.element, a)

    def blocked_pad(self) -> None:
        """Padding of space, sometimes of channels too."""
        a = self.blocked()
        channels = self.tape.pick((0, 0, 0, 1))
        low, high = ([0, channels, self.tape.below(3), self.tape.below(2)] for _ in range(2))
        self.follow(self.padded(a, low, high), extra=False)

    def blocked_concat(self) -> None:
        """Blocked values side by side, along channels or space, and a plain one among them in some."""
        a = self.blocked()
        axis = self.tape.pick((1, 1, 2))
        b = self.follow(a, extra=False) if self.tape.chance(85) else self.weight(a.shape, a.element)
        shape = tuple(2 * d if k == axis else d for k, d in enumerate(a.shape))
        t = tensor(shape, a.element)
        name = self.out.value(f"tensor.concat dim({axis}) {a.name}, {b.name} : ({a.type}, {b.type}) -> {t}")
        self.add("concat", name, shape, a.element, a, b)
        self.follow(self.values[-1], extra=False)

    def blocked_slice(self) -> None:
        """Some of the channels: whole blocks, or not."""
        a = self.blocked()
        at = self.tape.pick((0, a.shape[1] // 2, 0, 4))
        n = self.tape.pick((a.shape[1] // 2, a.shape[1] // 2, a.shape[1] // 2, 3))
        shape = (a.shape[0], min(n, a.shape[1] - at), *a.shape[2:])
        window = f"[0, {at}, 0, 0] {list(shape)} [1, 1, 1, 1]"
        name = self.out.value(f"tensor.extract_slice {a.name}{window} : {a.type} to {tensor(shape, a.element)}")
        self.add("extract_slice", name, shape, a.element, a)
        self.follow(self.values[-1], extra=False)

    def blocked_depthwise(self) -> None:
        """A depthwise convolution of a blocked value."""
        a = self.blocked()
        kernel = (1, self.tape.pick((1, min(2, a.shape[3]))))
        w = self.weight((a.shape[1], *kernel), a.element)
        shape = (*a.shape[:3], a.shape[3] - kernel[1] + 1)
        one = "dense<1> : tensor<2xi64>"
        attrs = f"{{dilations = {one}, strides = {one}}} "
        self.named("linalg.depthwise_conv_2d_nchw_chw", "depthwise", [a, w], shape, attrs)

    # --- named ops

    def pack(self) -> None:
        """A pack with or without padding, and its unpack in half."""
        a = self.matrix()
        axis, tile = self.tape.below(2), self.tape.pick((2, 4, 3))
        d = a.shape[axis]
        blocks = -(-d // tile)
        shape = (*(blocks if k == axis else n for k, n in enumerate(a.shape)), tile)
        t = tensor(shape, a.element)
        dest = self.empty(shape, a.element)
        padding = ""
        if d % tile or self.tape.chance(20):
            zero = "0.0" if a.element.startswith("f") else "0"
            z = self.out.value(f"arith.constant {zero} : {a.element}")
            padding = f"padding_value({z} : {a.element}) "
        how = f"inner_dims_pos = [{axis}] inner_tiles = [{tile}]"
        name = self.out.value(f"linalg.pack {a.name} {padding}{how} into {dest} : {a.type} -> {t}")
        self.add("pack", name, shape, a.element, a)
        if self.tape.chance(60):
            back = self.empty(a.shape, a.element)
            name = self.out.value(f"linalg.unpack {name} {how} into {back} : {t} -> {a.type}")
            self.add("unpack", name, a.shape, a.element, a)

    def broadcast(self) -> None:
        """linalg.broadcast along a new dimension."""
        a = self.matrix()
        axis, size = self.tape.below(3), self.tape.pick((2, 1, 3))
        shape = (*a.shape[:axis], size, *a.shape[axis:])
        init, t = self.empty(shape, a.element), tensor(shape, a.element)
        name = self.out.value(f"linalg.broadcast ins({a.name}:{a.type}) outs({init}:{t}) dimensions = [{axis}]")
        self.add("broadcast", name, shape, a.element, a)

    def reduce(self) -> None:
        """linalg.reduce over one dimension."""
        a = self.matrix()
        axis = self.tape.below(2)
        shape = (a.shape[1 - axis],)
        op, start = ("addf", 0.0) if a.element.startswith("f") else ("addi", 0.0)
        init, t, c = self.fill(shape, a.element, start), tensor(shape, a.element), self.out.counter
        e, name = a.element, self.out.name()
        self.out.emit(f"{name} = linalg.reduce ins({a.name}:{a.type}) outs({init}:{t}) dimensions = [{axis}]")
        self.out.emit(f"(%x_{c}: {e}, %acc_{c}: {e}) {{")
        self.out.emit(f"  %r_{c} = arith.{op} %x_{c}, %acc_{c} : {e}")
        self.out.emit(f"  linalg.yield %r_{c} : {e}")
        self.out.emit("}")
        self.add("reduce", name, shape, e, a)

    def reshape(self) -> None:
        """tensor.reshape by a shape tensor made of index or i64 elements."""
        a = self.matrix()
        n = a.shape[0] * a.shape[1]
        shape = self.tape.pick(((n,), (a.shape[1], a.shape[0]), (1, n), (a.shape[0], 1, a.shape[1])))
        kind = self.tape.pick(("index", "i64"))
        sizes = [self.out.value(f"arith.constant {d} : {kind}") for d in shape]
        held = f"tensor<{len(shape)}x{kind}>"
        elements = self.out.value(f"tensor.from_elements {', '.join(sizes)} : {held}")
        t = tensor(shape, a.element)
        name = self.out.value(f"tensor.reshape {a.name}({elements}) : ({a.type}, {held}) -> {t}")
        self.add("reshape", name, shape, a.element, a)
