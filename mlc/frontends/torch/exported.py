"""torch.export's graphs: for dynamic sizes, and for programs that were exported already.

    capture_exported(torch.export.export(model, (x,), dynamic_shapes=…), resources)   -->   Captured with `?` sizes

The graph is run once more, node by node, on torch.export's own fake tensors with symbolic sizes, under the same
recorder as a real run: one way into the torch dialect, no decompositions.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import sympy
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from mlc.errors import MlcError, ShapeError, UnsupportedError, UsageError
from mlc.frontends.torch.assemble import Recording, assemble
from mlc.frontends.torch.captured import Alias, Captured, Guard, Place, Symbol, TensorGuard, ValueGuard
from mlc.frontends.torch.control_flow import both_branches, choice
from mlc.frontends.torch.emit import Emitter, static, tensor_type
from mlc.frontends.torch.functional import below_autograd, functionalization, unwrap, wrap
from mlc.frontends.torch.graph import UNKNOWN, Graph, Location, Value
from mlc.frontends.torch.nn_transformer import padding_as_zeros
from mlc.frontends.torch.owned import Owned, owned
from mlc.frontends.torch.places import Places, is_users_file
from mlc.frontends.torch.problems import CONTROL_FLOW, Problems
from mlc.frontends.torch.python_reads import SECOND_NAMES
from mlc.frontends.torch.recorder import Recorder
from mlc.frontends.torch.shadow import shadow
from mlc.frontends.torch.size_expressions import conditions
from mlc.frontends.torch.sizes import SymbolicSizes, linear_place
from mlc.frontends.torch.state import state_names
from mlc.ir.resources import ResourceStore

_FRAME = re.compile(r'File "(.+)", line (\d+)')
_WITHOUT = "compile it without dynamic_shapes: it is then compiled again for each new shape"
_SMALLEST = 'name the smallest size, such as {2: torch.export.Dim("height", min=16)}, or ' + _WITHOUT
_STATE = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


def export(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any) -> ExportedProgram:
    """torch.export of `model`; a string in `dynamic_shapes` names a dimension."""
    shapes = pytree.tree_map(_dim, dynamic_shapes)
    module = shadow(model) if isinstance(model, torch.nn.Module) else _Function(model)
    args, kwargs = _apart(model, args, kwargs)
    try:
        gradients = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        with both_branches(_refuse), padding_as_zeros(lambda: None, gradients=gradients), _quiet():
            return torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
    except MlcError:
        raise
    except Exception as error:
        text = re.split(r"\n\s*\n|\n *(?:Developer debug context|from user code)", str(error).strip())[0]
        guards = re.findall("generated guard (.*)", text)
        kind = ShapeError if "onstraint" in text or "dynamic_shapes" in text else UnsupportedError
        raise kind(
            f"torch.export refuses this model with dynamic_shapes: {text}",
            hint=_SMALLEST if guards and all("!=" in g or "IntInfinity" in g for g in guards) else _WITHOUT,
        ) from error


def _apart(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, copied where a tensor is given twice or is the model's: each is an input of its own."""
    seen = {*state_names(owned(model))}

    def own(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in seen:
            seen.add(id(tensor))
            return tensor
        return tensor.detach().clone().requires_grad_(tensor.requires_grad)

    return pytree.tree_map_only(torch.Tensor, own, (args, kwargs))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What PyTorch cannot do is said by the error; its log would print PyTorch's insides as well."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _refuse(what: str, way: str) -> None:
    raise UnsupportedError(f"this model {what}", hint=way)


def _dim(dim: Any) -> Any:
    if isinstance(dim, str) and not dim.isidentifier():
        raise UsageError(f"dynamic_shapes names a dimension {dim!r}", expected="a name like 'batch'")
    return Dim(dim) if isinstance(dim, str) else dim


class _Function(torch.nn.Module):
    """A plain function as the module that torch.export wants."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.forward = function  # with its own signature, which dynamic_shapes follows


def capture_exported(program: ExportedProgram, resources: ResourceStore, model: object = None) -> Captured:
    """Record an exported program; `model` is the module it came from, whose train/eval flags are then guarded."""
    with _quiet():
        return _Exported(program, resources, model).run()


class _NodePlaces(Places):
    """Places of an exported graph: what torch.export noted at the node that runs."""

    def __init__(self) -> None:
        super().__init__(Owned())
        self.node: torch.fx.Node | None = None

    def here(self) -> Location:
        """Location of the current node."""
        if self.node is None:
            return UNKNOWN
        file, line = "", 0
        for found in _FRAME.finditer(self.node.meta.get("stack_trace") or ""):
            if is_users_file(found[1]):
                file, line = found[1], int(found[2])
        modules = list((self.node.meta.get("nn_module_stack") or {"": ("", None)}).values())
        return self.at(file, line, modules[-1][0])


class _Interpreter(torch.fx.Interpreter):
    """Runs the graph and tells `places` which node it is at."""

    def __init__(self, module: torch.fx.GraphModule, places: _NodePlaces) -> None:
        super().__init__(module)
        self.places = places

    def run_node(self, n: torch.fx.Node) -> Any:
        self.places.node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`torch.cond` as a choice; in-place ops that functionalization does not know as functional form and copy."""
        if target is torch.ops.higher_order.cond:
            return choice(*args, refuse=_refuse)
        second = SECOND_NAMES.get(target._opname) if isinstance(target, torch._ops.OpOverload) else None
        if second is not None:
            return args[0].copy_(getattr(torch, second)(*args, **kwargs))
        return super().call_function(target, args, kwargs)


@contextlib.contextmanager
def _symbolic(mode: FakeTensorMode | None) -> Iterator[None]:
    """Fake tensors, and no new conditions on sizes.

    torch.export has settled those of the program. What would come up here is eager's choice of a convolution
    algorithm by batch size and the like, which does not touch what the op means.
    """
    with mode or contextlib.nullcontext():
        shape_env = mode.shape_env if mode is not None else None
        with shape_env.suppress_guards() if shape_env is not None else contextlib.nullcontext():
            yield


class _Exported:
    """One capture, step by step."""

    def __init__(self, program: ExportedProgram, resources: ResourceStore, model: object) -> None:
        self.program = program
        self.model = model
        self.graph = Graph()
        self.places = _NodePlaces()
        self.problems = Problems()
        self.emitter = Emitter(self.graph, resources)
        self.state: dict[str, torch.Tensor] = {}
        self.names: dict[int, str] = {}
        self.fakes: list[tuple[torch.Tensor, torch.Tensor]] = []  # fake, real
        self.leaves: list[Any] = []

    def run(self) -> Captured:
        self._refuse_higher_order()
        placeholders = {n.name: n for n in self.program.graph.nodes if n.op == "placeholder"}
        specs = self.program.graph_signature.input_specs
        values: dict[str, Any] = {}
        for spec in specs:
            node = placeholders[spec.arg.name]
            if spec.kind in _STATE:
                values[spec.arg.name] = self._state_tensor(str(spec.target), node)
            elif spec.kind is InputKind.USER_INPUT:
                value = spec.arg.value if isinstance(spec.arg, ConstantArgument) else node.meta["val"]
                values[spec.arg.name] = value
                self.leaves.append(value)
            else:
                self.problems.fail(f"takes a {spec.kind.name} as input", UNKNOWN, "export it without")
        symbols = self._symbols()
        recorder = self._recorder(symbols)
        wrappers = {i: wrap(v) for i, v in enumerate(self.leaves) if isinstance(v, torch.Tensor)}
        buffers = [(fake, real, wrap(fake)) for fake, real in self.fakes if not isinstance(real, torch.nn.Parameter)]
        by_leaf = {id(v): wrappers[i] for i, v in enumerate(self.leaves) if i in wrappers}
        by_leaf |= {id(fake): wrapper for fake, _, wrapper in buffers}
        given = [by_leaf.get(id(values[s.arg.name]), values[s.arg.name]) for s in specs]
        outputs, finals, ended = self._interpret(recorder, given, wrappers, buffers)
        return assemble(
            Recording(
                recorder,
                self.graph,
                self.model,
                self._in_spec(),
                self._guards(symbols),
                self.leaves,
                finals,
                ended,
                outputs,
                self._out_spec(),
                symbols,
                conditions=self._conditions(symbols),
            )
        )

    def _conditions(self, symbols: tuple[Symbol, ...]) -> tuple[Any, ...]:
        """What must hold of the sizes besides their ranges for the program to be the model's."""
        sizes = [n for leaf in self.leaves if isinstance(leaf, torch.Tensor) for n in leaf.shape]
        env = next((n.node.shape_env for n in sizes if isinstance(n, torch.SymInt)), None)
        if env is None:
            return ()
        args, kwargs = pytree.tree_unflatten(self.leaves, self._in_spec())
        signature = self.program.module_call_graph[0].signature
        given = dict(zip((signature and signature.forward_arg_names) or (), args, strict=False)) | kwargs
        texts = getattr(self.program, "_guards_code", ())
        try:
            return tuple(conditions(env, texts, given, {s.expr: s.name for s in symbols}))
        except TypeError as error:
            raise UnsupportedError(
                f"this model decides something by open sizes, by {error}",
                hint="leave that size out of dynamic_shapes: the model is then compiled again for each value",
            ) from None

    def _refuse_higher_order(self) -> None:
        for node in self.program.graph.nodes:
            known = node.target is torch.ops.higher_order.cond
            if node.op == "call_function" and isinstance(node.target, torch._ops.HigherOrderOperator) and not known:
                self.places.node = node
                self.problems.add(f"uses the control-flow op '{node.target}'", self.places.here(), CONTROL_FLOW)
        self.problems.raise_if_any()

    def _state_tensor(self, target: str, node: torch.fx.Node) -> torch.Tensor:
        """The fake tensor of a weight; its data is kept beside it."""
        real = self.program.state_dict.get(target, self.program.constants.get(target))
        assert isinstance(real, torch.Tensor)
        fake = node.meta["val"]
        self.names[id(real)] = target
        self.fakes.append((fake, real))
        return fake

    def _symbols(self) -> tuple[Symbol, ...]:
        """The dynamic sizes of the inputs."""
        places: dict[Any, list[Place]] = {}
        for i, leaf in enumerate(self.leaves):
            if isinstance(leaf, torch.SymInt):
                self.problems.fail("takes a dynamic Python number as input", UNKNOWN, "pass it as a constant")
            if not isinstance(leaf, torch.Tensor):
                continue
            for dim, size in enumerate(leaf.shape):
                if isinstance(size, torch.SymInt) and not size.node.expr.is_Integer:
                    found = linear_place(size.node.expr, i, dim)
                    if found is None:
                        self.problems.fail(
                            f"has an input size that is {size}",
                            UNKNOWN,
                            "use Dim, or a multiple of one plus a number",
                        )
                    places.setdefault(found[0], []).append(found[1])
        symbols: list[Symbol] = []
        for expr, where in places.items():
            low, high = self._range(expr)
            exact = sorted(where, key=lambda p: (p.scale, abs(p.offset)))
            symbols.append(Symbol(self._symbol_name(exact[0]), expr, tuple(exact), low, high))
        return tuple(symbols)

    def _symbol_name(self, place: Place) -> str:
        return f"{self._names()[place.leaf]}.shape[{place.dim}]"

    def _range(self, expr: Any) -> tuple[int, int | None]:
        found = self.program.range_constraints.get(expr)
        if found is None:
            return 0, None
        low = int(found.lower) if isinstance(found.lower, sympy.Integer) else 0
        high = int(found.upper) if isinstance(found.upper, sympy.Integer) and found.upper < 2**62 else None
        return max(low, 0), high

    def _recorder(self, symbols: tuple[Symbol, ...]) -> Recorder:
        recorder = Recorder(
            self.emitter,
            self.places,
            self.problems,
            self.names,
            symbolic=True,
            with_real_tensors=unset_fake_temporarily,
        )
        for fake, real in self.fakes:
            recorder.real[id(fake)] = real
        arguments: dict[int, Value] = {}
        for i, leaf in enumerate(self.leaves):
            if isinstance(leaf, torch.Tensor):
                arguments[i] = self.graph.add_argument(tensor_type(leaf))
                recorder.add_input(leaf, arguments[i])
        sizes = SymbolicSizes(self.emitter, symbols, arguments)
        sizes.bind(symbols, dict(enumerate(self.leaves)))
        self.emitter.symbolic_int = sizes
        return recorder

    def _interpret(
        self,
        recorder: Recorder,
        given: list[Any],
        wrappers: dict[int, torch.Tensor],
        buffers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    ) -> tuple[list[Any], dict[int, torch.Tensor], list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
        fakes = [v for v in (*self.leaves, *(fake for fake, _ in self.fakes)) if isinstance(v, FakeTensor)]
        fake_mode = fakes[0].fake_mode if fakes else None
        by_wrapper = {id(w): i for i, w in wrappers.items()}
        try:
            with below_autograd(), _symbolic(fake_mode), functionalization(), recorder:
                out = _Interpreter(self.program.graph_module, self.places).run(*given)
                returned = [Alias(by_wrapper[id(v)]) if id(v) in by_wrapper else unwrap(v) for v in out]
                finals = {i: unwrap(w) for i, w in wrappers.items()}
                ended = {id(fake): (fake, real, unwrap(w)) for fake, real, w in buffers}
        except MlcError:
            raise
        except Exception as error:
            self.problems.raise_if_any()
            raise UnsupportedError(
                f"the exported program cannot be recorded: {type(error).__name__}: {str(error).splitlines()[0]}"
            ) from error
        self.problems.raise_if_any()
        return self._signature_outputs(returned, finals, ended), finals, list(ended.values())

    def _signature_outputs(
        self,
        returned: list[Any],
        finals: dict[int, torch.Tensor],
        ended: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    ) -> list[Any]:
        """The user's outputs; new values of buffers and inputs that the graph returns count as changes."""
        outputs: list[Any] = []
        by_target = {self.names[id(real)]: (fake, real) for fake, real in self.fakes}
        user_inputs = [s.arg.name for s in self.program.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
        for spec, value in zip(self.program.graph_signature.output_specs, returned, strict=True):
            if spec.kind is OutputKind.USER_OUTPUT:
                outputs.append(spec.arg.value if isinstance(spec.arg, ConstantArgument) else value)
            elif spec.kind is OutputKind.BUFFER_MUTATION:
                fake, real = by_target[str(spec.target)]
                ended[id(fake)] = (fake, real, value)
            elif spec.kind is OutputKind.USER_INPUT_MUTATION:
                finals[user_inputs.index(str(spec.target))] = value
            else:
                self.problems.fail(f"returns a {spec.kind.name}", UNKNOWN, "export it for inference")
        return outputs

    def _names(self) -> list[str]:
        specs = self.program.graph_signature.input_specs
        return [s.arg.name for s in specs if s.kind is InputKind.USER_INPUT]

    def _guards(self, symbols: tuple[Symbol, ...]) -> tuple[Guard, ...]:
        named = {(p.leaf, p.dim): s.name for s in symbols for p in s.places}
        guards: list[Guard] = []
        for i, (leaf, name) in enumerate(zip(self.leaves, self._names(), strict=True)):
            if isinstance(leaf, torch.Tensor):
                shape = tuple(static(leaf.shape))
                marks = tuple(named.get((i, d)) for d in range(len(shape)))
                guards.append(TensorGuard(name, shape, leaf.dtype, marks if any(marks) else ()))
            else:
                guards.append(ValueGuard(name, leaf))
        return tuple(guards)

    def _in_spec(self) -> pytree.TreeSpec:
        return self.program.call_spec.in_spec  # pyright: ignore[reportReturnType] - always set by torch.export

    def _out_spec(self) -> pytree.TreeSpec:
        return self.program.call_spec.out_spec  # pyright: ignore[reportReturnType] - always set by torch.export
