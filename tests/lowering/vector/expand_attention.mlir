// RUN: mlc-opt --expand-attention='rows=4 keys=3' %s | filecheck %s

// Five rows are a block of four and one of one, seven keys two blocks of three and one key.
// CHECK-LABEL: func.func private @whole
// CHECK: scf.parallel
// CHECK: %[[TURNED:.*]] = memref.alloca() {alignment = 64 : i64} : memref<8x4xf32>
// CHECK: arith.constant 5.000000e-01 : f32
// CHECK: %[[PEAK:.*]] = memref.alloca() {alignment = 64 : i64} : memref<4xf32>
// CHECK: %[[TOTAL:.*]] = memref.alloca() {alignment = 64 : i64} : memref<4xf32>
// CHECK: %[[SUMS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<4x6xf32>
// CHECK: arith.constant -3.40282347e+38 : f32
// CHECK: scf.for
// CHECK: memref.subview %k[%{{.*}}, %{{.*}}, 0] [1, 3, 8]
// CHECK: %[[SCORES:.*]] = memref.alloca() {alignment = 64 : i64} : memref<3x4xf32>
// CHECK: iterator_types = ["parallel", "parallel", "reduction"]
// CHECK-SAME: %[[TURNED]]
// CHECK-NOT: arith.select
// CHECK: arith.maximumf
// CHECK: math.exp
// CHECK: math.exp
// CHECK: iterator_types = ["parallel", "parallel", "reduction"]
// CHECK-SAME: %[[SCORES]]
// CHECK: memref.subview %k[%{{.*}}, 6, 0] [1, 1, 8]
// CHECK: arith.cmpf oeq
// CHECK: arith.divf
// CHECK: memref.subview %y[%{{.*}}, %{{.*}}, 0] [1, 1, 6]
// CHECK: scf.parallel
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<8x1xf32>
// CHECK-NOT: linalg_ext.attention
func.func private @whole(%q: memref<2x5x8xf32>, %k: memref<2x7x8xf32>, %v: memref<2x7x6xf32>, %y: memref<2x5x6xf32>) attributes {kernel} {
  "linalg_ext.attention"(%q, %k, %v, %y) {scale = 0.5 : f32} : (memref<2x5x8xf32>, memref<2x7x8xf32>, memref<2x7x6xf32>, memref<2x5x6xf32>) -> ()
  func.return
}

// Blocks of keys before that of the rows are seen whole, as many as there are; of the last one a row sees its own part.
// CHECK-LABEL: func.func private @causal
// CHECK: scf.parallel (%[[HEAD:.*]], %[[BLOCK:.*]]) =
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[BLOCK]] step
// CHECK-NOT: linalg.index
// CHECK: math.exp
// CHECK: linalg.index 0
// CHECK: linalg.index 1
// CHECK: arith.cmpi sle
// CHECK: func.return
func.func private @causal(%q: memref<2x8x8xf32>, %k: memref<2x8x8xf32>, %v: memref<2x8x6xf32>, %y: memref<2x8x6xf32>) attributes {kernel} {
  "linalg_ext.attention"(%q, %k, %v, %y) {scale = 0.5 : f32, causal} : (memref<2x8x8xf32>, memref<2x8x8xf32>, memref<2x8x6xf32>, memref<2x8x6xf32>) -> ()
  func.return
}

// One group for two heads; what is not seen is minus infinity.
// CHECK-LABEL: func.func private @masked
// CHECK: %[[GROUP:.*]] = arith.divui
// CHECK: memref.subview %m[%[[GROUP]], 0, 0] [1, 1, 3]
// CHECK: arith.select
// CHECK: func.return
func.func private @masked(%q: memref<4x4x8xf32>, %k: memref<4x3x8xf32>, %v: memref<4x3x6xf32>, %m: memref<2x1x3xi1>, %y: memref<4x4x6xf32>) attributes {kernel} {
  "linalg_ext.attention"(%q, %k, %v, %m, %y) {scale = 0.5 : f32} : (memref<4x4x8xf32>, memref<4x3x8xf32>, memref<4x3x6xf32>, memref<2x1x3xi1>, memref<4x4x6xf32>) -> ()
  func.return
}
