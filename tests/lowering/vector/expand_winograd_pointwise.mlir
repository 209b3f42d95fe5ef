// RUN: mlc-opt --expand-winograd-matmul %s | filecheck %s

#all = affine_map<(n, f, h, w, l) -> (n, f, h, w, l)>

// Pixels of two images are prepared seven at a time, from blocks of channels that lie apart. Register tiles are two whole
// rows of pixels, and one for what is left. The destination is the inside of a larger image.
// CHECK-LABEL: func.func private @pixels
// CHECK: scf.parallel
// CHECK: memref.subview %x[%[[N:.*]], 0, %[[H:.*]], {{.*}}, 0] [1, 2, 1, 7, 4]
// CHECK: memref.subview %r[0, %[[N]], %[[H]], {{.*}}] [5, 1, 1, 7]
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (d2, d0, d1, d3)>
// CHECK-SAME: iterator_types = ["parallel", "parallel", "reduction", "reduction"]
// CHECK: math.exp2
// CHECK: memref.expand_shape
// CHECK-SAME: into memref<1x7x2x4xf32
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<2x7x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (d0, d1, d3, 5)>
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (((d3 * 6) + 5), d2)>
// CHECK: scf.for
// CHECK: scf.for
// CHECK: memref.subview %y[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, 0] [1, 1, 1, 1, 4]
// CHECK-SAME: to memref<1x1x4xf32, strided<[36, 4, 1], offset: ?>>
// CHECK: linalg.generic
// CHECK: memref.subview %b[%{{.*}}, 0] [1, 4]
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2) -> (0, d2)>
// CHECK: arith.maximumf
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<1x7x4xf32>
// CHECK: arith.maximumf
// CHECK: scf.if
// CHECK: scf.if
// CHECK: linalg.generic
// CHECK-SAME: attrs = {mlc.cold}
// CHECK: arith.maximumf
// CHECK-NOT: linalg.generic
// CHECK: func.return
func.func private @pixels(%x: memref<2x2x5x7x4xf32>, %w: memref<3x15x4xf32>, %b: memref<3x4xf32>, %y: memref<2x3x5x7x4xf32, strided<[756, 252, 36, 4, 1], offset: 40>>, %s: memref<2x5x7x1x64xf32>, %r: memref<6x2x5x7xf32>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<2x3x5x7x4xf32, strided<[756, 252, 36, 4, 1], offset: 40>>)
  "linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {depth = 8 : i64} : (memref<2x2x5x7x4xf32>, memref<3x15x4xf32>, memref<2x3x5x7x4xf32, strided<[756, 252, 36, 4, 1], offset: 40>>, memref<2x5x7x1x64xf32>, memref<6x2x5x7xf32>) -> ()
  linalg.generic {indexing_maps = [affine_map<(n, f, h, w, l) -> (f, l)>, #all], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]} ins(%b : memref<3x4xf32>) outs(%y : memref<2x3x5x7x4xf32, strided<[756, 252, 36, 4, 1], offset: 40>>) {
  ^bb0(%bias: f32, %old: f32):
    %sum = arith.addf %old, %bias : f32
    %none = arith.constant 0.0 : f32
    %relu = arith.maximumf %sum, %none : f32
    linalg.yield %relu : f32
  }
  func.return
}
