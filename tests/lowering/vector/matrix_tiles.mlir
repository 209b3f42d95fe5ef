// RUN: mlc-opt --target=x86-64-amx --vectorize-structured %s | filecheck %s
// RUN: mlc-opt --target=x86-64-amx --vectorize-structured='matrix-tiles=false' %s | filecheck %s --check-prefix=VECTORS
// RUN: mlc-opt --target=x86-64-avx512-bf16 --vectorize-structured %s | filecheck %s --check-prefix=VECTORS
// RUN: mlc-opt --target=x86-64-amx --vectorize-structured --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: mlc-opt --target=x86-64-amx --pass-pipeline='builtin.module(vectorize-structured,scf-parallel-to-for,convert-to-llvm)' %s | filecheck %s --check-prefix=LLVM

// REMARK: [vectorize-structured] applied: {{.*}}vectorised 3 ops
// REMARK: [vectorize-structured] missed: {{.*}}not by tiles (those before it take the registers)

// Two registers of rows by two of columns; the bias is added to what they stored, row by row.
// CHECK-LABEL: func.func private @linear
// CHECK: scf.parallel
// CHECK: amx.tile_zero : !amx.tile<16x16xf32>
// CHECK: scf.for {{.*}} -> (!amx.tile<16x16xf32>, !amx.tile<16x16xf32>, !amx.tile<16x16xf32>, !amx.tile<16x16xf32>)
// CHECK: amx.tile_load {{.*}} : memref<16x32xbf16, strided<[128, 1], offset: ?>> into !amx.tile<16x32xbf16>
// CHECK: amx.tile_load {{.*}} : memref<16x32xbf16, strided<[32, 1], offset: ?>> into !amx.tile<16x32xbf16>
// CHECK: amx.tile_mulf
// CHECK: scf.yield
// CHECK: amx.tile_store {{.*}} : memref<16x16xf32, strided<[64, 1], offset: ?>>, !amx.tile<16x16xf32>
// CHECK: scf.for
// CHECK: arith.addf {{.*}} : vector<16xf32>
// The last row alone is multiplied by vectors.
// CHECK: x86vector.avx512.dot
// CHECK: func.return
// VECTORS-LABEL: func.func private @linear
// VECTORS-NOT: amx.
// VECTORS: x86vector.avx512.dot
// LLVM: llvm.call_intrinsic "llvm.x86.tilezero.internal"({{.*}}) : (i16, i16) -> !llvm.x86_amx
// LLVM: llvm.call_intrinsic "llvm.x86.tileloadd64.internal"({{.*}}) : (i16, i16, !llvm.ptr, i64) -> !llvm.x86_amx
// LLVM: llvm.call_intrinsic "llvm.x86.tdpbf16ps.internal"({{.*}}) : (i16, i16, i16, !llvm.x86_amx, !llvm.x86_amx, !llvm.x86_amx) -> !llvm.x86_amx
// LLVM: llvm.call_intrinsic "llvm.x86.tilestored64.internal"({{.*}}) : (i16, i16, !llvm.ptr, i64, !llvm.x86_amx) -> ()
func.func private @linear(%x: memref<49x64x2xbf16>, %w: memref<4x64x16x2xbf16>, %b: memref<4x16xf32>, %out: memref<49x4x16xf32>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%out : memref<49x4x16xf32>)
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k, p) -> (m, k, p)>, affine_map<(m, n, o, k, p) -> (n, k, o, p)>, affine_map<(m, n, o, k, p) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%x, %w : memref<49x64x2xbf16>, memref<4x64x16x2xbf16>) outs(%out : memref<49x4x16xf32>) {
  ^bb0(%a: bf16, %c: bf16, %acc: f32):
    %wa = arith.extf %a : bf16 to f32
    %wc = arith.extf %c : bf16 to f32
    %p = arith.mulf %wa, %wc : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  linalg.generic {indexing_maps = [affine_map<(m, n, o) -> (n, o)>, affine_map<(m, n, o) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%b : memref<4x16xf32>) outs(%out : memref<49x4x16xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %s = arith.addf %acc, %a : f32
    linalg.yield %s : f32
  }
  func.return
}

// Sums that begin with what is in memory are loaded. Of i8 the factor that is read as unsigned is marked.
// CHECK-LABEL: func.func private @quantised
// CHECK-NOT: amx.tile_zero
// CHECK: amx.tile_load {{.*}} : memref<16x16xi32, strided<[32, 1], offset: ?>> into !amx.tile<16x16xi32>
// CHECK: amx.tile_muli %{{.*}} zext, %{{.*}}, %{{.*}} : !amx.tile<16x64xi8>, !amx.tile<16x64xi8>, !amx.tile<16x16xi32>
// CHECK: func.return
// VECTORS-LABEL: func.func private @quantised
// VECTORS: x86vector.avx512.dot.ui8
// LLVM: llvm.call_intrinsic "llvm.x86.tdpbusd.internal"
func.func private @quantised(%x: memref<32x32x4xi8>, %w: memref<2x32x16x4xi8>, %out: memref<32x2x16xi32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k, p) -> (n, k, o, p)>, affine_map<(m, n, o, k, p) -> (m, k, p)>, affine_map<(m, n, o, k, p) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%w, %x : memref<2x32x16x4xi8>, memref<32x32x4xi8>) outs(%out : memref<32x2x16xi32>) {
  ^bb0(%a: i8, %c: i8, %acc: i32):
    %wa = arith.extsi %a : i8 to i32
    %wc = arith.extui %c : i8 to i32
    %p = arith.muli %wa, %wc : i32
    %s = arith.addi %acc, %p : i32
    linalg.yield %s : i32
  }
  func.return
}

// A register has one shape throughout a function: the second product, of other rows, goes by vectors.
// CHECK-LABEL: func.func private @two_shapes
// CHECK: amx.tile_mulf {{.*}} !amx.tile<16x16xf32>
// CHECK-NOT: amx.tile_mulf {{.*}} !amx.tile<14x16xf32>
// CHECK: x86vector.avx512.dot
// CHECK: func.return
func.func private @two_shapes(%x: memref<32x16x2xbf16>, %y: memref<28x16x2xbf16>, %w: memref<2x16x16x2xbf16>, %a: memref<32x2x16xf32>, %b: memref<28x2x16xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k, p) -> (m, k, p)>, affine_map<(m, n, o, k, p) -> (n, k, o, p)>, affine_map<(m, n, o, k, p) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%x, %w : memref<32x16x2xbf16>, memref<2x16x16x2xbf16>) outs(%a : memref<32x2x16xf32>) {
  ^bb0(%l: bf16, %r: bf16, %acc: f32):
    %wl = arith.extf %l : bf16 to f32
    %wr = arith.extf %r : bf16 to f32
    %p = arith.mulf %wl, %wr : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k, p) -> (m, k, p)>, affine_map<(m, n, o, k, p) -> (n, k, o, p)>, affine_map<(m, n, o, k, p) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%y, %w : memref<28x16x2xbf16>, memref<2x16x16x2xbf16>) outs(%b : memref<28x2x16xf32>) {
  ^bb0(%l: bf16, %r: bf16, %acc: f32):
    %wl = arith.extf %l : bf16 to f32
    %wr = arith.extf %r : bf16 to f32
    %p = arith.mulf %wl, %wr : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  func.return
}
