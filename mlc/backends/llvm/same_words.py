"""Whether words of memory are what they were, asked natively: numpy takes half a microsecond to gather a hundred.

    same = same_words()
    same(address of a table)   --> 0 when everything is as in the table, else the number of the first group that is not

The table is `n1, …, nG, -1` and then, for each group, that many pairs of an address and what should be there, all of 64
bits. A group is read only when those before it are right. The interpreter lock is kept meanwhile.
Tests: tests/backends/llvm/test_same_words.py
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

from mlc.backends.llvm.jit import load_objects
from mlc.backends.llvm.kept import object_of
from mlc.backends.llvm.target import host_machine
from mlc.runtime.linker import Library

_TEXT = """
define i64 @mlc_same_words(ptr %table) nounwind {
start:
  br label %count
count:
  %groups = phi i64 [ 0, %start ], [ %groups.next, %count ]
  %size.at = getelementptr i64, ptr %table, i64 %groups
  %size.here = load i64, ptr %size.at
  %groups.next = add i64 %groups, 1
  %last = icmp eq i64 %size.here, -1
  br i1 %last, label %begin, label %count
begin:
  %pairs = getelementptr i64, ptr %table, i64 %groups.next
  br label %group
group:
  %number = phi i64 [ 0, %begin ], [ %number.next, %right ]
  %from = phi ptr [ %pairs, %begin ], [ %next, %right ]
  %number.next = add i64 %number, 1
  %n.at = getelementptr i64, ptr %table, i64 %number
  %n = load i64, ptr %n.at
  %over = icmp eq i64 %n, -1
  br i1 %over, label %same, label %first
first:
  %any = icmp ne i64 %n, 0
  br i1 %any, label %look, label %right
look:
  %k = phi i64 [ 0, %first ], [ %k.next, %look ]
  %at = phi ptr [ %from, %first ], [ %following, %look ]
  %differs = phi i64 [ 0, %first ], [ %differs.next, %look ]
  %place = load ptr, ptr %at
  %expected.at = getelementptr i64, ptr %at, i64 1
  %expected = load i64, ptr %expected.at
  %found = load volatile i64, ptr %place
  %difference = xor i64 %found, %expected
  %differs.next = or i64 %differs, %difference
  %following = getelementptr i64, ptr %at, i64 2
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, %n
  br i1 %more, label %look, label %judge
judge:
  %wrong = icmp ne i64 %differs.next, 0
  br i1 %wrong, label %other, label %right
right:
  %next = phi ptr [ %from, %first ], [ %following, %judge ]
  br label %group
other:
  ret i64 %number.next
same:
  ret i64 0
}
"""


@functools.cache
def same_words() -> Callable[[int], int]:
    """See the module. The code stays mapped as long as the process lives."""
    library = _library()
    return ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(library.address("mlc_same_words"))


@functools.cache
def _library() -> Library:
    return load_objects([object_of(_TEXT, host_machine())], exports=("mlc_same_words",))
