// RUN: mlc-opt --target=x86-64-avx512 --vectorize-structured %s | filecheck %s
// RUN: mlc-opt --vectorize-structured='vector_bits=256 vector_registers=16' %s | filecheck %s --check-prefix=AVX2
// RUN: mlc-opt --vectorize-structured --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK

#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (j)>
#first = affine_map<(i, j) -> (i)>

// REMARK-DAG: [vectorize-structured] applied: {{.*}}vectorised 3 ops

// Fill, product and epilogue are one nest: accumulators start as constants, bias and relu are applied in registers, one
// store per element.
// CHECK-LABEL: func.func private @linear
// CHECK-NOT: linalg.
// CHECK: scf.parallel
// CHECK: scf.for {{.*}} iter_args({{.*}}%{{.*}} = %[[ZERO:.*]]) -> ({{.*}}vector<16xf32>
// CHECK: vector.load {{.*}} vector<16xf32>
// CHECK: memref.load
// CHECK: vector.broadcast {{.*}} : f32 to vector<16xf32>
// CHECK: vector.fma {{.*}} : vector<16xf32>
// CHECK: scf.yield
// CHECK: arith.addf {{.*}} : vector<16xf32>
// CHECK: arith.maximumf {{.*}} : vector<16xf32>
// CHECK: vector.store
// CHECK: func.return
// AVX2-LABEL: func.func private @linear
// AVX2: vector.fma {{.*}} : vector<8xf32>
func.func private @linear(%x: memref<28x64xf32>, %w: memref<4x64x16xf32>, %b: memref<4x16xf32>, %out: memref<28x4x16xf32>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%out : memref<28x4x16xf32>)
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k) -> (m, k)>, affine_map<(m, n, o, k) -> (n, k, o)>, affine_map<(m, n, o, k) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : memref<28x64xf32>, memref<4x64x16xf32>) outs(%out : memref<28x4x16xf32>) {
  ^bb0(%a: f32, %c: f32, %acc: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  linalg.generic {indexing_maps = [affine_map<(m, n, o) -> (n, o)>, affine_map<(m, n, o) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%b : memref<4x16xf32>) outs(%out : memref<28x4x16xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %s = arith.addf %acc, %a : f32
    %r = arith.maximumf %s, %zero : f32
    linalg.yield %r : f32
  }
  func.return
}

// 800 rows of 1 KB do not stay in a second-level cache of 1 MB: 26 register tiles of 30 rows come in four blocks of at most
// seven tiles, with all panels of columns inside of each; then the last 20 rows.
// CHECK-LABEL: func.func private @blocks_of_rows
// CHECK-DAG: %[[BLOCK:.*]] = arith.constant 210 : index
// CHECK-DAG: %[[ALL:.*]] = arith.constant 780 : index
// CHECK-DAG: %[[TILE:.*]] = arith.constant 30 : index
// CHECK: scf.for %[[FROM:.*]] = %{{.*}} to %[[ALL]] step %[[BLOCK]] {
// CHECK: %[[NEXT:.*]] = arith.addi %[[FROM]], %[[BLOCK]]
// CHECK: %[[TO:.*]] = arith.minui %[[NEXT]], %[[ALL]]
// CHECK: scf.parallel ({{.*}}) = (%{{.*}}, %[[FROM]]) to (%{{.*}}, %[[TO]]) step (%{{.*}}, %[[TILE]]) {
// CHECK: scf.parallel
// CHECK: func.return
func.func private @blocks_of_rows(%x: memref<800x256xf32>, %w: memref<64x256x16xf32>, %out: memref<800x64x16xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k) -> (m, k)>, affine_map<(m, n, o, k) -> (n, k, o)>, affine_map<(m, n, o, k) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : memref<800x256xf32>, memref<64x256x16xf32>) outs(%out : memref<800x64x16xf32>) {
  ^bb0(%a: f32, %c: f32, %acc: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  func.return
}

// A contiguous elementwise kernel is one flat loop, whatever its rank; the scalar stays a scalar until it meets a vector.
// CHECK-LABEL: func.func private @flat
// CHECK: scf.parallel
// CHECK-NOT: scf.for
// CHECK: vector.load {{.*}} vector<16xf32>
// CHECK: arith.mulf {{.*}} : vector<16xf32>
// CHECK: func.return
func.func private @flat(%x: memref<4x8x32xf32>, %out: memref<4x8x32xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, b, c)>, affine_map<(a, b, c) -> (a, b, c)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : memref<4x8x32xf32>) outs(%out : memref<4x8x32xf32>) {
  ^bb0(%a: f32, %o: f32):
    %r = arith.mulf %a, %a : f32
    linalg.yield %r : f32
  }
  func.return
}

// Softmax-like rows: the maximum ends in a horizontal reduction, the local buffer disappears.
// CHECK-LABEL: func.func private @rows
// CHECK-NOT: memref.alloca
// CHECK: vector.reduction <maximumf>
// CHECK: vector.store
// CHECK: func.return
func.func private @rows(%x: memref<8x64xf32>, %out: memref<8x64xf32>) attributes {kernel} {
  %low = arith.constant 0xFF800000 : f32
  %m = memref.alloca() : memref<8xf32>
  linalg.fill ins(%low : f32) outs(%m : memref<8xf32>)
  linalg.generic {indexing_maps = [#id, #first], iterator_types = ["parallel", "reduction"]} ins(%x : memref<8x64xf32>) outs(%m : memref<8xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %r = arith.maximumf %acc, %a : f32
    linalg.yield %r : f32
  }
  linalg.generic {indexing_maps = [#id, #first, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %m : memref<8x64xf32>, memref<8xf32>) outs(%out : memref<8x64xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %r = arith.subf %a, %b : f32
    linalg.yield %r : f32
  }
  func.return
}

// Weights that do not fit the first-level cache are prefetched two pages ahead while many rows are multiplied by them;
// for one row alone they are not, nor where they fit.
// CHECK-LABEL: func.func private @streamed
// CHECK: vector.load {{.*}} vector<16xf32>
// CHECK: memref.prefetch %{{.*}}[%{{.*}}], read, locality<2>, data
func.func private @streamed(%x: memref<28x768xf32>, %w: memref<4x768x16xf32>, %out: memref<28x4x16xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k) -> (m, k)>, affine_map<(m, n, o, k) -> (n, k, o)>, affine_map<(m, n, o, k) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : memref<28x768xf32>, memref<4x768x16xf32>) outs(%out : memref<28x4x16xf32>) {
  ^bb0(%a: f32, %c: f32, %acc: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  func.return
}

// CHECK-LABEL: func.func private @one_row
// CHECK-NOT: memref.prefetch
func.func private @one_row(%x: memref<1x768xf32>, %w: memref<4x768x16xf32>, %out: memref<1x4x16xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(m, n, o, k) -> (m, k)>, affine_map<(m, n, o, k) -> (n, k, o)>, affine_map<(m, n, o, k) -> (m, n, o)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : memref<1x768xf32>, memref<4x768x16xf32>) outs(%out : memref<1x4x16xf32>) {
  ^bb0(%a: f32, %c: f32, %acc: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }
  func.return
}

// A running sum was never a structured op.
// REMARK-DAG: [vectorize-structured] missed: scf.for: left to scalar loops (it goes through single elements)
func.func private @running_sum(%x: memref<8xf32>, %out: memref<8xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %zero = arith.constant 0.0 : f32
  %sum = scf.for %i = %c0 to %c8 step %c1 iter_args(%s = %zero) -> (f32) {
    %v = memref.load %x[%i] : memref<8xf32>
    %t = arith.addf %s, %v : f32
    memref.store %t, %out[%i] : memref<8xf32>
    scf.yield %t : f32
  }
  func.return
}

// Threads divide pixels, not channels: what reads them divides them in the same way. In a 1x1 convolution each thread then
// reads all weights, where they are no more than what it would have to read of others.
// CHECK-LABEL: func.func private @pixels
// CHECK: scf.parallel (%{{.*}}, %{{.*}}) =
// CHECK: {mlc.divided = 1 : i64}
// CHECK: scf.parallel (%{{.*}}, %{{.*}}) =
// CHECK: {mlc.divided = 1 : i64}
// CHECK-LABEL: func.func private @many_weights
// CHECK-NOT: mlc.divided
// CHECK: func.return
#image = affine_map<(n, c, h, w, l) -> (n, c, h, w, l)>
#read = affine_map<(n, f, h, w, l, c, k) -> (n, c, h, w, k)>
#weight = affine_map<(n, f, h, w, l, c, k) -> (f, c, k, l)>
#written = affine_map<(n, f, h, w, l, c, k) -> (n, f, h, w, l)>
func.func private @pixels(%x: memref<1x2x30x30x16xf32>, %s: memref<2x16xf32>, %y: memref<1x2x30x30x16xf32>, %w: memref<12x2x16x16xf32>, %z: memref<1x12x30x30x16xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [#image, affine_map<(n, c, h, w, l) -> (c, l)>, #image], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]} ins(%x, %s : memref<1x2x30x30x16xf32>, memref<2x16xf32>) outs(%y : memref<1x2x30x30x16xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    %r = arith.mulf %a, %b : f32
    linalg.yield %r : f32
  }
  linalg.generic {indexing_maps = [#read, #weight, #written], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%y, %w : memref<1x2x30x30x16xf32>, memref<12x2x16x16xf32>) outs(%z : memref<1x12x30x30x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %r = arith.addf %acc, %p : f32
    linalg.yield %r : f32
  }
  func.return
}
func.func private @many_weights(%y: memref<1x64x14x14x16xf32>, %w: memref<64x64x16x16xf32>, %z: memref<1x64x14x14x16xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [#read, #weight, #written], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%y, %w : memref<1x64x14x14x16xf32>, memref<64x64x16x16xf32>) outs(%z : memref<1x64x14x14x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %r = arith.addf %acc, %p : f32
    linalg.yield %r : f32
  }
  func.return
}
