"""Line tables from locations: perf and disassemblers show the user's line beside the instructions.

loc("model.py":42:0)   -->   !dbg !7,   !7 = !DILocation(line: 42, column: 0, scope: !5)
"""

from __future__ import annotations

from pathlib import PurePath

from xdsl.dialects import llvm
from xdsl.dialects.builtin import CallSiteLoc, FileLineColLoc, LocationAttr, NameLoc, UnknownLoc
from xdsl.ir import Operation

from mlc.backends.llvm.llvm_types import escape
from mlc.ir.locations import flatten_location


def file_line(loc: LocationAttr | None) -> tuple[str, int, int] | None:
    """The first file, line and column in a location."""
    if loc is None or isinstance(loc, UnknownLoc):
        return None
    for part in flatten_location(loc):
        match part:
            case FileLineColLoc():
                return part.filename.data, part.line.data, part.column.data
            case NameLoc() if isinstance(part.location, LocationAttr):
                found = file_line(part.location)
            case CallSiteLoc() if isinstance(part.callee, LocationAttr):
                found = file_line(part.callee)
            case _:
                found = None
        if found is not None:
            return found
    return None


class DebugInfo:
    """Metadata nodes of one module, numbered in order of first use."""

    def __init__(self) -> None:
        self._nodes: list[str] = []
        self._ids: dict[str, str] = {}
        self._scope = ""
        self._line = 1
        self._by_loc: dict[int, str] = {}
        self._file = ""
        self._unit = ""

    def _node(self, text: str) -> str:
        found = self._ids.get(text)
        if found is None:
            found = self._ids[text] = f"!{len(self._nodes)}"
            self._nodes.append(text)
        return found

    def _file_node(self, path: str) -> str:
        pure = PurePath(path)
        directory = escape(str(pure.parent).encode())
        return self._node(f'!DIFile(filename: "{escape(pure.name.encode())}", directory: "{directory}")')

    def function(self, op: llvm.FuncOp) -> str:
        """Scope of a function; locations that follow belong to it."""
        where = file_line(op.location)
        for inner in op.body.walk() if where is None else ():
            where = file_line(inner.location)
            if where is not None:
                break
        path, line, _ = where or ("kernel.mlir", 1, 0)
        self._file = self._file_node(path)
        if not self._unit:
            self._unit = self._node(
                f'distinct !DICompileUnit(language: DW_LANG_C, file: {self._file}, producer: "mlc", '
                "isOptimized: true, runtimeVersion: 0, emissionKind: LineTablesOnly)"
            )
        empty = self._node("!{null}")
        ty = self._node(f"!DISubroutineType(types: {empty})")
        name = escape(op.sym_name.data.encode())
        self._scope = self._node(
            f'distinct !DISubprogram(name: "{name}", linkageName: "{name}", scope: {self._file}, file: {self._file}, '
            f"line: {line}, type: {ty}, unit: {self._unit}, spFlags: DISPFlagDefinition)"
        )
        self._line = line
        self._by_loc.clear()
        return self._scope

    def location(self, op: Operation) -> str:
        """Node of an op's location; ops without one get the function's line."""
        key = id(op.location)
        found = self._by_loc.get(key)
        if found is None:
            path, line, column = file_line(op.location) or ("", self._line, 0)
            scope = self._scope
            if path and (other := self._file_node(path)) != self._file:
                scope = self._node(f"!DILexicalBlockFile(scope: {self._scope}, file: {other}, discriminator: 0)")
            found = self._by_loc[key] = self._node(
                f"!DILocation(line: {line}, column: {min(column, 65535)}, scope: {scope})"
            )
        return found

    def metadata(self) -> list[str]:
        """The nodes, and the flags that turn them on."""
        if not self._unit:
            return []
        dwarf = self._node('!{i32 7, !"Dwarf Version", i32 4}')
        version = self._node('!{i32 2, !"Debug Info Version", i32 3}')
        lines = [f"!{n} = {text}" for n, text in enumerate(self._nodes)]
        return [f"!llvm.dbg.cu = !{{{self._unit}}}", f"!llvm.module.flags = !{{{dwarf}, {version}}}", *lines]
