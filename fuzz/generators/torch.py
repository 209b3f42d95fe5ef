"""Programs of the torch dialect: ATen ops as captured models mix them. Result types come from the ops' inference."""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from fuzz.generators.torch_base import SIZES, TorchBase
from mlc.dialects.torch.types import VTensorType
from mlc.testing.program import Program, finish

UNARY = [
    "relu",
    "neg",
    "abs",
    "sigmoid",
    "tanh",
    "exp",
    "silu",
    "sin",
    "cos",
    "erf",
    "floor",
    "ceil",
    "square",
    "hardswish",
    "hardsigmoid",
    "softplus.plain",
    "relu6",
    "sign",
    "reciprocal",
    "rsqrt.abs",
    "sqrt.abs",
    "log.abs",
    "expm1",
    "log1p.abs",
    "round",
    "trunc",
    "logical_not.bool",
    "isnan.bool",
]
COMPARE = ["gt.Tensor", "lt.Tensor", "ge.Tensor", "le.Tensor", "eq.Tensor", "ne.Tensor"]


class TorchGenerator(TorchBase):
    """One function on value tensors."""

    def unary(self) -> None:
        """An elementwise function; of the absolute value where it is not defined for all."""
        name = self.tape.pick(UNARY)
        x = self.any()
        base, _, how = name.partition(".")
        if how == "abs":
            (x,) = self.call("abs", x)
        match base:
            case "softplus":
                self.keep(*self.call("softplus", x, 1, 20))
            case "logical_not" | "isnan":
                (m,) = self.call(base, x)
                self.keep(*self.call("where.self", m, x, self.like(x)))
            case _:
                self.keep(*self.call(base, x))

    def activation(self) -> None:
        """Functions with parameters."""
        x = self.any()
        match self.tape.below(7):
            case 0:
                self.keep(*self.call("gelu", x, self.tape.pick(("none", "tanh"))))
            case 1:
                self.keep(*self.call("leaky_relu", x, 0.25))
            case 2:
                self.keep(*self.call("elu", x, 1.0, 1.0, 1.0))
            case 3:
                self.keep(*self.call("hardtanh", x, -1.0, 1.0))
            case 4:
                low, high = self.tape.pick(((-0.5, 0.5), (None, 1.0), (0.0, None)))
                self.keep(*self.call("clamp", x, low, high))
            case 5:
                self.keep(*self.call("pow.Tensor_Scalar", x, self.tape.pick((2, 3, 1, 0))))
            case _:
                self.keep(*self.call("add.Scalar", x, self.tape.pick((1.0, 2, -0.5)), self.tape.pick((1, 2))))

    def binary(self) -> None:
        """Arithmetic of two tensors."""
        x = self.any()
        name = self.tape.pick(("add", "mul.Tensor", "sub", "maximum", "minimum", "div.Tensor", "compare"))
        if name in ("add", "sub"):
            self.keep(*self.call(f"{name}.Tensor", x, self.like(x), self.tape.pick((1, 2))))
        elif name == "compare":
            y = self.like(x)
            (m,) = self.call(self.tape.pick(COMPARE), x, y)
            self.keep(*self.call("where.self", m, x, y))
        else:
            self.keep(*self.call(name, x, self.like(x)))

    def reduction(self) -> None:
        """Sums, means, extrema, variances over dimensions."""
        x = self.any()
        rank = len(self.shape(x))
        if rank == 0:
            return self.unary()
        dims = self.tape.subset(range(rank)) or [rank - 1]
        keep = self.tape.chance(50)
        match self.tape.below(6):
            case 0:
                self.keep(*self.call("sum.dim_IntList", x, dims, keep, None))
            case 1:
                self.keep(*self.call("mean.dim", x, dims, keep, None))
            case 2:
                self.keep(*self.call("amax", x, dims, keep))
            case 3:
                self.keep(*self.call("var.correction", x, dims, self.tape.pick((1, 0)), keep))
            case 4:
                self.keep(*self.call("cumsum", x, dims[0], None))
            case _:
                self.keep(self.call("max.dim", x, dims[0], keep)[0])

    def normal(self) -> None:
        """softmax, log_softmax, layer norm, group norm."""
        x = self.any()
        shape = self.shape(x)
        if not shape:
            return self.unary()
        match self.tape.below(4):
            case 0:
                self.keep(*self.call("softmax.int", x, self.tape.below(len(shape)), None))
            case 1:
                self.keep(*self.call("log_softmax.int", x, len(shape) - 1, None))
            case 2:
                tail = shape[-1:]
                self.keep(*self.call("layer_norm", x, tail, self.weight(tail), self.weight(tail), 1e-5, True))
            case _:
                if len(shape) < 3:
                    return self.unary()
                groups = self.tape.pick([g for g in (1, 2, 4) if shape[1] % g == 0])
                c = shape[1:2]
                self.keep(*self.call("group_norm", x, groups, self.weight(c), self.weight(c), 1e-5, True))

    def view(self) -> None:
        """Reshapes, transposes, slices, joins."""
        x = self.any()
        shape = self.shape(x)
        rank = len(shape)
        kind = self.tape.pick(
            [
                "view",
                "permute",
                "transpose",
                "unsqueeze",
                "squeeze",
                "flatten",
                "expand",
                "slice",
                "select",
                "cat",
                "stack",
                "pad",
                "flip",
                "t",
                "copy",
                "split",
            ]
        )
        if rank == 0:
            return self.keep(*self.call("unsqueeze", x, 0))
        d = self.tape.below(rank)
        match kind:
            case "view":
                n = prod(shape)
                f = self.tape.pick([k for k in (1, 2, 3, 4, n) if k and n % k == 0] or [1])
                new = self.tape.pick(([n], [f, n // f], [-1, f])) if n else [n]
                self.keep(*self.call(self.tape.pick(("view", "reshape")), x, new))
            case "permute":
                self.keep(*self.call("permute", x, self.tape.shuffled(rank)))
            case "transpose":
                self.keep(*self.call("transpose.int", x, d, rank - 1))
            case "unsqueeze":
                self.keep(*self.call("unsqueeze", x, self.tape.below(rank + 1)))
            case "squeeze":
                self.keep(*self.call("squeeze.dim", x, d))
            case "flatten":
                self.keep(*self.call("flatten.using_ints", x, d, rank - 1))
            case "expand":
                (y,) = self.call("unsqueeze", x, 0)
                self.keep(*self.call("expand", y, [self.tape.pick((2, 1, 3)), *shape], False))
            case "slice":
                n = shape[d]
                start = self.tape.below(max(n, 1))
                self.keep(
                    *self.call(
                        "slice.Tensor", x, d, start, self.tape.pick((n, 9223372036854775807)), self.tape.pick((1, 2))
                    )
                )
            case "select":
                if shape[d] == 0:
                    return self.unary()
                self.keep(*self.call("select.int", x, d, self.tape.pick((0, -1))))
            case "cat":
                self.keep(
                    *self.call("cat", [x, self.weight([*shape[:d], self.tape.pick(SIZES), *shape[d + 1 :]]), x], d)
                )
            case "stack":
                self.keep(*self.call("stack", [x, x], d))
            case "pad":
                self.keep(
                    *self.call(
                        "constant_pad_nd", x, [self.tape.below(3), self.tape.below(3)], self.tape.pick((0.0, 1.5))
                    )
                )
            case "flip":
                self.keep(*self.call("flip", x, [d]))
            case "t":
                if rank != 2:
                    return self.unary()
                self.keep(*self.call("t", x))
            case "split":
                if shape[d] < 2:
                    return self.unary()
                index = self.tape.pick((0, 1))
                size = (shape[d] + 1) // 2
                self.keep(*self.call("narrow", x, d, index, size if index == 0 else shape[d] - 1))
            case _:
                how = self.tape.pick(("detach", "clone", "contiguous", "dropout", "alias"))
                extra = {"clone": (None,), "contiguous": (0,), "dropout": (0.5, False)}.get(how, ())
                self.keep(*self.call(how, x, *extra))

    def product(self) -> None:
        """Matrix products with weights or each other."""
        match self.tape.below(5):
            case 0:
                x = self.any()
                shape = self.shape(x)
                if not shape:
                    return self.unary()
                n = self.tape.pick((4, 8, 3, 16))
                bias = self.weight([n]) if self.tape.chance(70) else None
                self.keep(*self.call("linear", x, self.weight([n, shape[-1]]), bias))
            case 1:
                x = self.any(2)
                self.keep(*self.call("mm", x, self.weight([self.shape(x)[1], self.tape.pick(SIZES)])))
            case 2:
                x = self.any(3)
                b, _, k = self.shape(x)
                self.keep(*self.call("bmm", x, self.weight([b, k, self.tape.pick(SIZES)])))
            case 3:
                x = self.any(2)
                n = self.tape.pick(SIZES)
                self.keep(
                    *self.call(
                        "addmm", self.weight([n]), x, self.weight([self.shape(x)[1], n]), 1, self.tape.pick((1, 2))
                    )
                )
            case _:
                x = self.any()
                shape = self.shape(x)
                if not shape:
                    return self.unary()
                self.keep(*self.call("matmul", x, self.weight([shape[-1], self.tape.pick(SIZES)])))

    def attention(self) -> None:
        """Scaled dot products, causal or not."""
        b, h, s, d = (self.tape.pick(v) for v in ((1, 2), (1, 2), (3, 1, 4), (4, 2, 8)))
        q, k, v = (self.weight([b, h, s, d]) for _ in range(3))
        x = self.any()
        if self.shape(x) == [b, h, s, d]:
            q = x
        self.keep(*self.call("scaled_dot_product_attention", q, k, v, None, 0.0, self.tape.chance(50), None, False))

    def image(self) -> SSAValue:
        """NCHW."""
        found = [v for v in self.values if len(self.shape(v)) == 4 and min(self.shape(v)[2:]) >= 3]
        if found:
            return found[-1 - self.tape.below(min(2, len(found)))]
        return self.weight(
            [self.tape.pick((1, 2)), self.tape.pick((4, 3, 8)), self.tape.pick((6, 5)), self.tape.pick((5, 7))]
        )

    def convolution(self) -> None:
        """A convolution of constant weights, batch norm behind it in many."""
        x = self.image()
        c = self.shape(x)[1]
        f, k = self.tape.pick((4, 8, 3)), self.tape.pick((3, 1, 2))
        groups = self.tape.pick([g for g in (1, 1, c) if f % g == 0 and c % g == 0])
        bias = self.weight([f]) if self.tape.chance(50) else None
        stride, pad, dilation = self.tape.pick((1, 2)), self.tape.below(3), self.tape.pick((1, 1, 2))
        if dilation * (k - 1) >= min(self.shape(x)[2:]) + 2 * pad:
            dilation = 1
        w = self.weight([f, c // groups, k, k])
        (y,) = self.call("conv2d", x, w, bias, [stride] * 2, [pad] * 2, [dilation] * 2, groups)
        self.keep(y)
        if self.tape.chance(60):
            self.norm_of(y)

    def norm_of(self, x: SSAValue) -> None:
        """Evaluation-mode batch norm."""
        c = [self.shape(x)[1]]
        scale, shift = (self.weight(c), self.weight(c)) if self.tape.chance(80) else (None, None)
        mean, var = self.weight(c), self.weight(c, positive=True)
        self.keep(*self.call("batch_norm", x, scale, shift, mean, var, False, 0.1, 1e-5, False))

    def batch_norm(self) -> None:
        """Batch norm behind a linear layer or alone."""
        x = self.any(2)
        if self.shape(x)[0] == 0:
            return self.unary()
        if self.tape.chance(60):
            n = self.tape.pick((4, 8, 3))
            bias = self.weight([n]) if self.tape.chance(70) else None
            (x,) = self.call("linear", x, self.weight([n, self.shape(x)[1]]), bias)
            self.keep(x)
        self.norm_of(x)

    def pooling(self) -> None:
        """Windows of images."""
        x = self.image()
        k, s = self.tape.pick((2, 3)), self.tape.pick((1, 2))
        match self.tape.below(3):
            case 0:
                self.keep(*self.call("max_pool2d", x, [k, k], [s, s], [self.tape.below(2)] * 2, [1, 1], False))
            case 1:
                pad = self.tape.below(2)
                self.keep(*self.call("avg_pool2d", x, [k, k], [s, s], [pad] * 2, False, self.tape.chance(50), None))
            case _:
                self.keep(*self.call("adaptive_avg_pool2d", x, self.tape.pick(([1, 1], [2, 3]))))

    def body_steps(self) -> None:
        """What the function does."""
        for _ in range(self.tape.between(1, 6)):
            getattr(self, self.tape.pick(self.steps))()

    def program(self) -> Program:
        """Arguments, steps, results."""
        tape = self.tape
        types: list[VTensorType] = []
        for _ in range(tape.between(1, 2)):
            rank = tape.pick((2, 4, 3, 1))
            shape = [tape.pick(SIZES) for _ in range(rank)]
            if rank == 4:
                shape = [tape.pick((1, 2)), tape.pick((4, 3, 8)), tape.pick((6, 5)), tape.pick((5, 7))]
            types.append(VTensorType.get(shape, self.element))
        self.block = Block(arg_types=types)
        self.values = list(self.block.args)
        self.body_steps()
        results = [self.values[-1]]
        if tape.chance(30):
            results.append(tape.pick(self.values[::-1]))
        self.block.add_op(ReturnOp(*results))
        function = FuncOp("forward", (types, [r.type for r in results]), Region(self.block))
        module = ModuleOp([function])
        return finish(module, weights=self.weights, seed=self.seed, features=tuple(self.features))


OPS = {
    "unary": 4,
    "activation": 3,
    "binary": 4,
    "reduction": 3,
    "normal": 2,
    "view": 6,
    "product": 3,
    "convolution": 2,
    "pooling": 2,
    "batch_norm": 1,
    "attention": 1,
}
CONV_BN_STEPS = {"convolution": 5, "batch_norm": 3, "unary": 1, "binary": 1, "pooling": 1}
