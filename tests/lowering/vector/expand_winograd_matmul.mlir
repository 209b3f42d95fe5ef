// RUN: mlc-opt --expand-winograd-matmul %s | filecheck %s
// RUN: mlc-opt --expand-winograd-matmul='rows=4' %s | filecheck %s --check-prefix=BLOCKS

#row = affine_map<(m, n1, n0) -> (m, n1, n0)>

// Rows are prepared first: squares and sizes, factors, scaled terms with zeros behind them, sums of pairs. Then two
// pieces of groups of six terms, what they come to together in the output, row by row, the epilogue, and what is to be
// multiplied plainly: filled, multiplied and followed by the epilogue of its own.
// CHECK-LABEL: func.func private @fill_and_relu
// CHECK: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-NOT: linalg.fill ins(%[[ZERO]] : f32) outs(%y
// CHECK: memref.subview %r[0, 0] [5, 5]
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "reduction"]
// CHECK: math.absf
// CHECK: math.log2
// CHECK: math.roundeven
// CHECK: math.exp2
// CHECK: scf.for
// CHECK: arith.mulf
// CHECK: arith.select
// CHECK: memref.subview %s[0, %{{.*}}, 6] [5, 1, 58]
// CHECK-NEXT: arith.constant 0.000000e+00
// CHECK-NEXT: linalg.fill
// CHECK: iterator_types = ["parallel", "reduction", "reduction"]
// CHECK: scf.parallel
// CHECK: %[[PART:.*]] = memref.alloca() {alignment = 64 : i64} : memref<5x4xf32>
// CHECK: %[[WHOLE:.*]] = memref.alloca() {alignment = 64 : i64} : memref<5x4xf32>
// CHECK: linalg.fill ins(%{{.*}}) outs(%[[WHOLE]]
// CHECK: scf.for
// CHECK: linalg.fill ins(%{{.*}}) outs(%[[PART]]
// CHECK: memref.subview %w[%{{.*}}, %{{.*}}, 0] [1, 6, 4]
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2) -> (((d2 * 6) + 5), d1)>
// CHECK-SAME: outs(%[[PART]]
// CHECK: scf.for %[[ROW:[0-9]+]] =
// CHECK: memref.subview %[[PART]][%[[ROW]], 0] [1, 4]
// CHECK: %[[ONE:.*]] = memref.subview %[[WHOLE]][%[[ROW]], 0] [1, 4]
// CHECK: linalg.generic
// CHECK-SAME: outs(%[[ONE]]
// CHECK: scf.for
// CHECK: %[[Y:.*]] = memref.subview %y[{{.*}}] [1, 1, 4]
// CHECK-NEXT: linalg.fill ins(%[[ZERO]] : f32) outs(%[[Y]]
// CHECK: linalg.generic
// CHECK-SAME: outs(%[[Y]]
// CHECK: arith.select
// CHECK: linalg.generic
// CHECK-SAME: outs(%[[Y]]
// CHECK: arith.maximumf
// CHECK: %[[ANY:.*]] = arith.cmpf une
// CHECK: scf.if %[[ANY]]
// CHECK: scf.for
// CHECK: scf.if
// CHECK: linalg.fill ins(%[[ZERO]] : f32)
// CHECK: linalg.generic
// CHECK-SAME: attrs = {mlc.cold}
// CHECK: arith.maximumf
// CHECK-NOT: linalg.generic
// CHECK: func.return
//
// Blocks of three rows, and the other two.
// BLOCKS-LABEL: func.func private @fill_and_relu
// BLOCKS: scf.parallel
// BLOCKS: memref.alloca() {alignment = 64 : i64} : memref<3x4xf32>
// BLOCKS: scf.parallel
// BLOCKS: memref.alloca() {alignment = 64 : i64} : memref<2x4xf32>
// BLOCKS: func.return
func.func private @fill_and_relu(%x: memref<5x12xf32>, %w: memref<2x16x4xf32>, %b: memref<2x4xf32>, %y: memref<5x2x4xf32>, %s: memref<5x2x64xf32>, %r: memref<7x5xf32>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<5x2x4xf32>)
  "linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {depth = 6 : i64} : (memref<5x12xf32>, memref<2x16x4xf32>, memref<5x2x4xf32>, memref<5x2x64xf32>, memref<7x5xf32>) -> ()
  linalg.generic {indexing_maps = [affine_map<(m, n1, n0) -> (n1, n0)>, #row], iterator_types = ["parallel", "parallel", "parallel"]} ins(%b : memref<2x4xf32>) outs(%y : memref<5x2x4xf32>) {
  ^bb0(%bias: f32, %old: f32):
    %sum = arith.addf %old, %bias : f32
    %none = arith.constant 0.0 : f32
    %relu = arith.maximumf %sum, %none : f32
    linalg.yield %relu : f32
  }
  func.return
}

// What is added to is there only once: plain rows are added before the others. What works on the output elsewhere than
// element by element stays where it is.
// CHECK-LABEL: func.func private @onto
// CHECK: scf.parallel
// CHECK: scf.if
// CHECK: linalg.generic
// CHECK-SAME: attrs = {mlc.cold}
// CHECK: memref.subview %w[%{{.*}}, 0, 0] [1, 6, 4]
// CHECK: linalg.generic
// CHECK: linalg.generic
// CHECK: scf.reduce
// CHECK: linalg.generic
// CHECK: linalg.index
// CHECK: func.return
func.func private @onto(%x: memref<5x4xf32>, %w: memref<2x9x4xf32>, %y: memref<5x2x4xf32>, %s: memref<5x1x64xf32>, %r: memref<6x5xf32>) attributes {kernel} {
  "linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {depth = 4 : i64} : (memref<5x4xf32>, memref<2x9x4xf32>, memref<5x2x4xf32>, memref<5x1x64xf32>, memref<6x5xf32>) -> ()
  linalg.generic {indexing_maps = [#row], iterator_types = ["parallel", "parallel", "parallel"]} outs(%y : memref<5x2x4xf32>) {
  ^bb0(%old: f32):
    %i = linalg.index 2 : index
    %n = arith.index_cast %i : index to i32
    %f = arith.sitofp %n : i32 to f32
    %sum = arith.addf %old, %f : f32
    linalg.yield %sum : f32
  }
  func.return
}

// Eight of 24 rows are prepared together, and each register tile takes twelve.
// CHECK-LABEL: func.func private @many_rows
// CHECK: scf.parallel
// CHECK: memref.subview %x[%{{.*}}, 0] [8, 10]
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<12x4xf32>
// CHECK: func.return
func.func private @many_rows(%x: memref<24x10xf32>, %w: memref<1x37x4xf32>, %y: memref<24x1x4xf32>, %s: memref<24x5x64xf32>, %r: memref<10x24xf32>) attributes {kernel} {
  "linalg_ext.winograd_matmul"(%x, %w, %y, %s, %r) {depth = 2 : i64} : (memref<24x10xf32>, memref<1x37x4xf32>, memref<24x1x4xf32>, memref<24x5x64xf32>, memref<10x24xf32>) -> ()
  func.return
}
