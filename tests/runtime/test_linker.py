"""The static linker: every kind of relocation, what it refuses, damage of all kinds, memory that comes and goes."""

from __future__ import annotations

import ctypes
import gc
import platform
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlc.backends.llvm.codegen import CodegenOptions, compile_ir
from mlc.backends.llvm.target import host_machine
from mlc.backends.llvm.thread_pool import _ARCHITECTURES, _SOURCE
from mlc.errors import ArtifactError, UsageError
from mlc.runtime.elf import read_object
from mlc.runtime.linker import LinkedLibrary, Unlinkable, link, process_symbol
from tests.runtime.objects import CONSTANTS, DATA, TEXT, WEAK, ZEROS, Fixup, Name, make_object

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="needs Linux on x86-64: others link by LLVM"
)

SLOTS, CODE = Name("slots", DATA), Name("code", TEXT)
THERE = Name("there", CONSTANTS, 4)
OUTSIDE = Name("getpid")


def linked(*objects: bytes, **known: int) -> LinkedLibrary:
    return link([read_object(o) for o in objects], lambda name: known.get(name) or process_symbol(name))


def value(address: int, form: str) -> int:
    return struct.unpack(form, ctypes.string_at(address, struct.calcsize(form)))[0]


def permissions(address: int) -> str:
    """Of the page at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(x, 16) for x in line.split()[0].split("-"))
        if first <= address < last:
            return line.split()[1]
    return "none"


def test_addresses_and_distances():
    fixups = [Fixup(0, 1, 2, 5), Fixup(8, 24, 2, -3), Fixup(16, 2, 2, 9), Fixup(24, 4, 3, -4)]
    library = linked(make_object([SLOTS, THERE, CODE], fixups))
    slots, there = library.address("slots"), library.address("there")
    assert ctypes.string_at(there, 4) == b"tant"
    assert value(slots, "<Q") == there + 5
    assert value(slots + 8, "<q") == there - 3 - (slots + 8)
    assert value(slots + 16, "<i") == there + 9 - (slots + 16)
    assert value(slots + 24, "<i") == library.address("code") - 4 - (slots + 24)


@pytest.mark.parametrize("kind", [9, 41, 42])
@pytest.mark.parametrize("target", [THERE, OUTSIDE, Name("here", ZEROS, 8, 0)])
def test_distances_of_addresses_in_the_table(kind: int, target: Name):
    library = linked(make_object([target, SLOTS, Name("zeros", ZEROS)], [Fixup(8, kind, 1, -4)]))
    place = library.address("slots") + 8
    entry = place + value(place, "<i") + 4
    known = {"there": library.find("there"), "getpid": process_symbol("getpid")}
    assert value(entry, "<Q") == known.get(target.text, library.address("zeros") + 8)
    assert permissions(entry) == "r--p"


@pytest.mark.parametrize(("kind", "form"), [(10, "<I"), (11, "<i")])
def test_small_addresses(kind: int, form: str):
    library = linked(make_object([SLOTS, OUTSIDE], [Fixup(0, kind, 2, 2)]), getpid=0x1234)
    assert value(library.address("slots"), form) == 0x1236
    with pytest.raises(ArtifactError, match="out of range"):
        linked(make_object([SLOTS, OUTSIDE], [Fixup(0, kind, 2)]), getpid=1 << 40)


def test_calls_of_libraries_go_through_stubs():
    library = linked(make_object([SLOTS, OUTSIDE], [Fixup(0, 4, 2, 0), Fixup(8, 4, 2, 0)]))
    slots = library.address("slots")
    stub = slots + value(slots, "<i")
    assert stub == slots + 8 + value(slots + 8, "<i") and permissions(stub) == "r-xp"
    assert ctypes.CFUNCTYPE(ctypes.c_int)(stub)() == ctypes.CDLL(None).getpid()


def test_nothing_is_written_and_run():
    library = linked(make_object([SLOTS, THERE, CODE, Name("zeros", ZEROS)]))
    pages = {name: permissions(library.address(name)) for name in ("code", "there", "slots", "zeros")}
    assert pages == {"code": "r-xp", "there": "r--p", "slots": "rw-p", "zeros": "rw-p"}
    assert ctypes.CFUNCTYPE(ctypes.c_int)(library.address("code"))() == 42
    assert ctypes.string_at(library.address("zeros"), 64) == bytes(64)


def test_names():
    user = make_object([SLOTS, Name("other")], [Fixup(0, 1, 2)])
    first, second = (make_object([Name("other", TEXT, k, WEAK)]) for k in (1, 2))
    strong = make_object([Name("other", TEXT, 3)])
    library = linked(user, first, second)
    assert value(library.address("slots"), "<Q") == library.address("other")
    assert ctypes.string_at(library.address("other"), 1) == b"\x2a"
    assert ctypes.string_at(linked(first, strong).address("other"), 2) == b"\x00\x00"
    assert library.find("nothing") is None
    with pytest.raises(UsageError, match="no symbol 'nothing'"):
        library.address("nothing")
    with pytest.raises(ArtifactError, match="two definitions of 'other'"):
        linked(strong, strong)
    with pytest.raises(ArtifactError, match="nobody defines: other, yet_another"):
        linked(user, make_object([Name("yet_another")]))


REFUSED = {
    "a relocation of type 37": make_object([SLOTS], [Fixup(0, 37, 1)]),
    "type 1 and flags 1027": make_object(data_flags=3 | 1 << 10),
    "type 14 and flags 3": make_object(data_type=14),
    "code that can be written": make_object(data_flags=7),
    "aligned to 8192 bytes": make_object(align=8192),
    "'shared' of type 1": make_object([Name("shared", 0xFFF2, 8, type=1)]),
    "'chosen' of type 10": make_object([Name("chosen", TEXT, type=10)]),
    "relocations of another form": make_object([SLOTS], table_type=9),
    "the address of the table": make_object([Name("_GLOBAL_OFFSET_TABLE_")], [Fixup(0, 2, 1)]),
    "cannot be called directly": make_object([OUTSIDE], [Fixup(0, 2, 1)]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_left_to_llvm(reason: str):
    with pytest.raises(Unlinkable, match=reason):
        linked(REFUSED[reason])


DAMAGED = {
    "outside its section": make_object([SLOTS], [Fixup(57, 1, 1)]),
    "outside its section ": make_object([SLOTS], [Fixup(2**64 - 4, 2, 1)]),
    "for symbol 9, of 2": make_object([SLOTS], [Fixup(0, 1, 9)]),
    "in no section that is loaded": make_object([Name("local", 6, 0, 0)], [Fixup(0, 1, 1)]),
    "in no section that is loaded ": make_object([Name("global", 6)]),
    "out of range": make_object([SLOTS], [Fixup(0, 2, 1, 1 << 40)]),
    "a symbol lies outside": make_object([Name("far", DATA, 65)]),
    "a symbol lies outside ": make_object([Name("none", 99)]),
    "more than 1 GB": make_object(zeros=1 << 60),
    "aligned to 12 bytes": make_object(align=12),
}


@pytest.mark.parametrize("reason", DAMAGED)
def test_damage_is_named(reason: str):
    with pytest.raises(ArtifactError, match=f"damaged object file: .*{reason.strip()}"):
        linked(DAMAGED[reason])


MIXED = """
@table = global [2 x ptr] [ptr @f, ptr @table]
@text = private constant [6 x i8] c"hello\\00"
@environ = external global ptr
declare i64 @strlen(ptr)
define i64 @f(i64 %x) {
  %n = call i64 @strlen(ptr @text)
  %e = load ptr, ptr @environ
  %p = ptrtoint ptr %e to i64
  switch i64 %x, label %d [i64 0, label %a
    i64 1, label %b
    i64 2, label %c
    i64 3, label %g]
a:
  ret i64 %n
b:
  ret i64 %p
c:
  %s = call i64 @f(i64 0)
  ret i64 %s
g:
  ret i64 77
d:
  ret i64 -1
}
define double @third(double %x) {
  %y = fmul double %x, 0x3FD5555555555555
  ret double %y
}
"""


@pytest.fixture(scope="module")
def samples() -> list[bytes]:
    """What the code generator makes of many things at once, and of the worker threads."""
    machine = host_machine()
    pool = _SOURCE.read_text() + _ARCHITECTURES["x86_64"]
    return [
        compile_ir(MIXED, machine),
        compile_ir(MIXED, machine, CodegenOptions(opt_level=0)),
        compile_ir(pool, machine, CodegenOptions(opt_level=0)),
    ]


def test_generated_code(samples: list[bytes]):
    for data in samples[:2]:
        library = linked(data)
        f = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address("f"))
        environ = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ").value
        assert [f(k) for k in range(5)] == [5, environ, 5, 77, -1]
        assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.address("third"))(6.0) == 2.0
        table = library.address("table")
        assert [value(table, "<Q"), value(table + 8, "<Q")] == [library.address("f"), table]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_damaged_objects_give_typed_errors_only(samples: list[bytes], data: st.DataObject):
    """Cut anywhere, or with a few numbers changed to wild ones, mostly where there are headers and tables."""
    good = data.draw(st.sampled_from(samples), label="object")
    bad = bytearray(good)
    if data.draw(st.booleans(), label="cut"):
        del bad[data.draw(st.integers(0, len(bad) - 1), label="length") :]
    headers = struct.unpack_from("<Q", good, 40)[0]
    sections = [struct.unpack_from("<IIQQQQIIQQ", good, at) for at in range(headers, len(good) - 63, 64)]
    places = [(0, 64), (headers, len(good)), *((s[4], s[4] + s[5]) for s in sections if s[1] in (2, 3, 4))]
    for _ in range(data.draw(st.integers(0, 4), label="changes")):
        first, last = data.draw(st.sampled_from(places), label="where")
        at = data.draw(st.integers(first, max(first, last - 1)), label="at")
        wild = data.draw(st.integers(0, 255) | st.sampled_from((2**16, 2**31, 2**32 - 1, 2**63, 2**64 - 1)))
        number = wild.to_bytes(8, "little")[: data.draw(st.sampled_from((1, 2, 4, 8)), label="width")]
        if at + len(number) <= len(bad):
            bad[at : at + len(number)] = number
    try:
        library = linked(bytes(bad))
    except (ArtifactError, Unlinkable):
        return
    assert library.find("nothing") is None


def mappings() -> int:
    gc.collect()
    return len(Path("/proc/self/maps").read_text().splitlines())


def test_memory_comes_and_goes(samples: list[bytes]):
    """A library has three mappings while it is kept; libraries that are dropped leave none."""
    before = mappings()
    kept = [linked(samples[0]) for _ in range(40)]
    f = [ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(k.address("f")) for k in kept]
    assert mappings() >= before + 2 * 40 and all(g(3) == 77 for g in f)
    del kept, f
    for _ in range(300):
        linked(samples[2])
        with pytest.raises(ArtifactError):
            linked(make_object([SLOTS], [Fixup(0, 2, 1, 1 << 40)]))
    assert mappings() <= before + 4
