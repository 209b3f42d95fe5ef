"""Conversions of float16 for x86 processors without instructions for it: what LLVM then calls, and no library has.

    fpext half -> float     __extendhfsf2       fptrunc float -> half     __truncsfhf2
                                                fptrunc double -> half    __truncdfhf2

Whole numbers only say what happens, so that the code needs no conversion itself; rounded to the nearest, ties to even.
Tests: tests/backends/llvm/test_half_support.py
"""

from __future__ import annotations

import functools

from mlc.backends.llvm.codegen import compile_ir
from mlc.backends.machine import preset

SYMBOLS = frozenset({"__extendhfsf2", "__truncsfhf2", "__truncdfhf2"})

TEXT = """
define float @__extendhfsf2(half %h) {
  %bits = bitcast half %h to i16
  %wide = zext i16 %bits to i32
  %high = and i32 %wide, 32768
  %sign = shl i32 %high, 16
  %size = and i32 %wide, 32767
  %shifted = shl i32 %size, 13
  %normal = add i32 %shifted, 939524096           ; exponents begin 112 later
  %count = uitofp i32 %size to float              ; below the smallest exponent: a multiple of 2^-24
  %small = fmul float %count, 0x3E70000000000000
  %subnormal = bitcast float %small to i32
  %endless = or i32 %shifted, 2139095040
  %quiet = or i32 %endless, 4194304
  %is_small = icmp ult i32 %size, 1024
  %is_endless = icmp uge i32 %size, 31744
  %is_nan = icmp ugt i32 %size, 31744
  %a = select i1 %is_small, i32 %subnormal, i32 %normal
  %b = select i1 %is_endless, i32 %endless, i32 %a
  %c = select i1 %is_nan, i32 %quiet, i32 %b
  %d = or i32 %c, %sign
  %r = bitcast i32 %d to float
  ret float %r
}

define half @__truncsfhf2(float %f) {
  %bits = bitcast float %f to i32
  %high = lshr i32 %bits, 16
  %sign = and i32 %high, 32768
  %size = and i32 %bits, 2147483647
  %rebased = sub i32 %size, 939524096
  %kept = lshr i32 %rebased, 13
  %odd = and i32 %kept, 1
  %half = add i32 %rebased, 4095
  %rounded = add i32 %half, %odd
  %normal = lshr i32 %rounded, 13
  %positive = bitcast i32 %size to float
  %beside = fadd float %positive, 0.5             ; whose last bit is 2^-24
  %beside_bits = bitcast float %beside to i32
  %subnormal = sub i32 %beside_bits, 1056964608
  %part = lshr i32 %size, 13
  %payload = and i32 %part, 1023
  %nan = or i32 %payload, 32256
  %is_small = icmp ult i32 %size, 947912704       ; 2^-14
  %is_large = icmp uge i32 %size, 1199566848      ; 65520
  %is_nan = icmp ugt i32 %size, 2139095040
  %a = select i1 %is_small, i32 %subnormal, i32 %normal
  %b = select i1 %is_large, i32 31744, i32 %a
  %c = select i1 %is_nan, i32 %nan, i32 %b
  %d = or i32 %c, %sign
  %e = trunc i32 %d to i16
  %r = bitcast i16 %e to half
  ret half %r
}

define half @__truncdfhf2(double %x) {
  %f = fptrunc double %x to float                 ; rounded to odd: the second rounding then sees what was cut off
  %back = fpext float %f to double
  %inexact = fcmp one double %back, %x
  %now = call double @llvm.fabs.f64(double %back)
  %was = call double @llvm.fabs.f64(double %x)
  %above = fcmp ogt double %now, %was
  %bits = bitcast float %f to i32
  %one = zext i1 %above to i32
  %below = sub i32 %bits, %one
  %odd = or i32 %below, 1
  %chosen = select i1 %inexact, i32 %odd, i32 %bits
  %g = bitcast i32 %chosen to float
  %r = call half @__truncsfhf2(float %g)
  ret half %r
}

declare double @llvm.fabs.f64(double)
"""


@functools.cache
def half_support() -> bytes:
    """Object code of all three."""
    return compile_ir(TEXT, preset("x86-64-sse2"))
