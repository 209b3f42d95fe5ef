"""The engine: one module, one domain, one weight store. Functions are compiled on their first call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Block, Operation, Region

from mlc.errors import ExecutionError, InternalError, LimitError, MlcError, UnsupportedError, UsageError
from mlc.interp.codegen import RegionCode, compile_region
from mlc.ir.locations import format_location
from mlc.ir.memory import OutOfBounds
from mlc.ir.resources import ResourceStore
from mlc.ir.semantics import Domain, Results, fail

MAX_ITERATIONS = 50_000_000
MAX_CALL_DEPTH = 200


class Interpreter:
    """Runs functions of a module. `run_function` takes and gives values of the domain; `mlc.interp` converts."""

    def __init__(
        self,
        module: ModuleOp,
        *,
        resources: ResourceStore | None,
        domain: Domain,
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        self.module = module
        self.resources = resources
        self.domain = domain
        self.iteration: list[Sequence[Any]] = []
        self.state: dict[str, Any] = {}
        self._budget = self._left = max_iterations
        self._depth = 0
        self._symbols: dict[str, Operation] = {}
        self._functions: dict[str, Callable[..., Results]] = {}
        self._codes: dict[str, RegionCode] = {}
        for op in module.body.ops:
            name = op.properties.get("sym_name") or op.attributes.get("sym_name")
            if isinstance(name, StringAttr):
                self._symbols[name.data] = op

    def symbol(self, name: str) -> Operation | None:
        """The module's op of that symbol name."""
        return self._symbols.get(name)

    def tick(self) -> None:
        """Count one loop iteration."""
        self._left -= 1
        if self._left < 0:
            raise LimitError("the program ran longer than the interpreter's iteration budget")

    def run_block(self, block: Block, args: Sequence[Any]) -> Results:
        raise InternalError("the op at hand has no region to run")

    def run_region(self, region: Region, args: Sequence[Any]) -> Results:
        raise InternalError("the op at hand has no region to run")

    def function(self, region: Region) -> Callable[..., Results]:
        raise InternalError("the op at hand has no region to run")

    def call(self, symbol: str, args: Sequence[Any]) -> Results:
        """Call a function of the module."""
        fn = self._functions.get(symbol)
        if fn is None:
            fn = self._functions[symbol] = self._compile(symbol)
        if self._depth >= MAX_CALL_DEPTH:
            raise LimitError(f"calls nested deeper than {MAX_CALL_DEPTH}")
        self._depth += 1
        try:
            return fn(*args)
        finally:
            self._depth -= 1

    def _compile(self, symbol: str) -> Callable[..., Results]:
        op = self._symbols.get(symbol)
        if op is None:
            raise UsageError(
                f"the module has no function @{symbol}", expected=", ".join(f"@{s}" for s in self._symbols)
            )
        if len(op.regions) != 1 or not op.regions[0].blocks:
            raise UnsupportedError(
                f"@{symbol} is only declared, there is nothing to run", where=format_location(op.location) or None
            )
        label = f"<mlc.interp @{symbol} {len(self._codes)}>"
        fn, code = compile_region(op.regions[0], self, self.domain, label)
        self._codes[label] = code
        return fn

    def run_function(self, symbol: str, args: Sequence[Any]) -> Results:
        """Run a function on values of the domain; anything unexpected becomes an `InternalError` naming the op."""
        self._left = self._budget
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(max(limit, 20_000))
        try:
            with np.errstate(all="ignore"):
                return self.call(symbol, args)
        except MlcError:
            raise
        except OutOfBounds as e:
            op = self._op_of(e)
            if op is None:
                raise ExecutionError(str(e), where=f"@{symbol}") from e
            fail(op, str(e))
        except RecursionError as e:
            raise LimitError("calls nested too deeply") from e
        except MemoryError as e:
            raise LimitError("not enough memory to run the program") from e
        except Exception as e:
            op = self._op_of(e)
            where = format_location(op.location) if op is not None else ""
            name = f"'{op.name}'" if op is not None else f"@{symbol}"
            raise InternalError(f"{name} could not be interpreted: {type(e).__name__}: {e}", where=where or None) from e
        finally:
            sys.setrecursionlimit(limit)

    def _op_of(self, error: BaseException) -> Operation | None:
        found: Operation | None = None
        trace = error.__traceback__
        while trace is not None:
            code = self._codes.get(trace.tb_frame.f_code.co_filename)
            if code is not None and 0 < trace.tb_lineno <= len(code.line_ops):
                found = code.line_ops[trace.tb_lineno - 1] or found
            trace = trace.tb_next
        return found
