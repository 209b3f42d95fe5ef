// RUN: mlc-opt --target=x86-64-avx512-bf16 --vectorize-structured='dot-products=true' %s | filecheck %s
// RUN: mlc-opt --vectorize-structured='dot-products=true vector-bits=256 vector-registers=16' %s | filecheck %s --check-prefix=YMM
// RUN: mlc-opt --vectorize-structured='dot-products=false' %s | filecheck %s --check-prefix=NONE
// RUN: mlc-opt --target=x86-64-avx512-bf16 --vectorize-structured='dot-products=true' --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: mlc-opt --target=x86-64-avx512-bf16 --pass-pipeline='builtin.module(vectorize-structured{dot-products=true},scf-parallel-to-for,convert-to-llvm)' %s | filecheck %s --check-prefix=LLVM

// REMARK: [vectorize-structured] applied: {{.*}}vectorised 3 ops

// One instruction takes a pair of rows: the pair of %x is repeated in all lanes, that of %w is read as it lies.
// CHECK-LABEL: func.func private @linear
// CHECK-NOT: linalg.
// CHECK: vector.load {{.*}} vector<2xbf16>
// CHECK: vector.load {{.*}} vector<32xbf16>
// CHECK: vector.shuffle {{.*}} [0, 1, 0, 1, {{.*}}] : vector<2xbf16>, vector<2xbf16>
// CHECK: x86vector.avx512.dot {{.*}} : vector<32xbf16> -> vector<16xf32>
// CHECK-NOT: arith.extf
// CHECK: arith.addf {{.*}} : vector<16xf32>
// CHECK: func.return
// YMM: x86vector.avx512.dot {{.*}} : vector<16xbf16> -> vector<8xf32>
// NONE-LABEL: func.func private @linear
// NONE-NOT: x86vector
// NONE: arith.extf
// LLVM: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"({{.*}}) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
func.func private @linear(%x: memref<28x32x2xbf16>, %w: memref<4x32x16x2xbf16>, %b: memref<4x16xf32>, %out: memref<28x4x16xf32>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%out : memref<28x4x16xf32>)
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k, p) -> (m, k, p)>, affine_map<(m, n, o, k, p) -> (n, k, o, p)>, affine_map<(m, n, o, k, p) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%x, %w : memref<28x32x2xbf16>, memref<4x32x16x2xbf16>) outs(%out : memref<28x4x16xf32>) {
  ^bb0(%a: bf16, %c: bf16, %acc: f32):
    %wa = arith.extf %a : bf16 to f32
    %wc = arith.extf %c : bf16 to f32
    %p = arith.mulf %wa, %wc : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  linalg.generic {indexing_maps = [affine_map<(m, n, o) -> (n, o)>, affine_map<(m, n, o) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%b : memref<4x16xf32>) outs(%out : memref<28x4x16xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %s = arith.addf %acc, %a : f32
    linalg.yield %s : f32
  }
  func.return
}

// Fours of i8; the factor that is read as unsigned comes first.
// CHECK-LABEL: func.func private @quantised
// CHECK: vector.load {{.*}} vector<64xi8>
// CHECK: vector.load {{.*}} vector<4xi8>
// CHECK: %[[X:.*]] = vector.shuffle {{.*}} : vector<4xi8>, vector<4xi8>
// CHECK: x86vector.avx512.dot.ui8 %{{.*}}, %[[X]], %{{.*}} : vector<64xi8> -> vector<16xi32>
// CHECK: func.return
// NONE-LABEL: func.func private @quantised
// NONE-NOT: x86vector
// NONE: arith.extui
// LLVM: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"({{.*}}) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
func.func private @quantised(%x: memref<28x16x4xi8>, %w: memref<4x16x16x4xi8>, %out: memref<28x4x16xi32>) attributes {kernel} {
  %zero = arith.constant 0 : i32
  linalg.fill ins(%zero : i32) outs(%out : memref<28x4x16xi32>)
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k, p) -> (n, k, o, p)>, affine_map<(m, n, o, k, p) -> (m, k, p)>, affine_map<(m, n, o, k, p) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%w, %x : memref<4x16x16x4xi8>, memref<28x16x4xi8>) outs(%out : memref<28x4x16xi32>) {
  ^bb0(%a: i8, %c: i8, %acc: i32):
    %wa = arith.extsi %a : i8 to i32
    %wc = arith.extui %c : i8 to i32
    %p = arith.muli %wa, %wc : i32
    %s = arith.addi %acc, %p : i32
    linalg.yield %s : i32
  }
  func.return
}
