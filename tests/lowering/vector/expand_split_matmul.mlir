// RUN: mlc-opt --expand-split-matmul %s | filecheck %s
// RUN: mlc-opt --expand-split-matmul='tiles=1' %s | filecheck %s --check-prefix=ONE

#row = affine_map<(m, n1, n0) -> (m, n1, n0)>

// Rows first: zeros in those that the last tile has too many; squares and sizes, factors, parts of scaled terms, with
// zeros behind them. Then three tiles of rows with two panels: parts of the panels, two tiles with both, one with both,
// sums row by row, their epilogue, and what is to be multiplied plainly: filled, multiplied and followed by an epilogue
// of its own. The third panel last, alone.
// CHECK-LABEL: func.func private @fill_and_relu
// CHECK: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-NOT: linalg.fill ins(%[[ZERO]] : f32) outs(%y
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step
// CHECK: %[[NONE:.*]] = arith.constant dense<0.000000e+00> : vector<16xf32>
// CHECK: "linalg_ext.bf16_parts"(%[[NONE]], %[[NONE]])
// CHECK: scf.parallel
// CHECK: iterator_types = ["parallel", "reduction"]
// CHECK: math.absf
// CHECK: math.log2
// CHECK: math.roundeven
// CHECK: %[[FACTOR:.*]] = math.exp2
// CHECK: %[[LIFT:.*]] = arith.constant 1.09951163e+12 : f32
// CHECK-NEXT: arith.mulf %[[FACTOR]], %[[LIFT]]
// CHECK: vector.broadcast
// CHECK: "linalg_ext.bf16_parts"
// CHECK-NEXT: vector.store %{{.*}}, %s[
// CHECK-NEXT: vector.store %{{.*}}, %s[
// CHECK-NEXT: vector.store %{{.*}}, %s[
// CHECK: %[[BEHIND:.*]] = arith.constant dense<0.000000e+00> : vector<16xf32>
// CHECK: "linalg_ext.bf16_parts"(%{{.*}}, %[[BEHIND]])
// CHECK: scf.reduce
// CHECK: scf.parallel
// CHECK: %[[OWN:.*]] = "linalg_ext.private"(%q)
// CHECK: %[[SUMS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<48x2x16xf32>
// CHECK: vector.load %w[
// CHECK: "linalg_ext.bf16_parts"
// CHECK-COUNT-3: vector.store %{{.*}}, %[[OWN]][
// CHECK: "linalg_ext.bf16_parts"
// CHECK-COUNT-3: vector.store %{{.*}}, %[[OWN]][
// CHECK-NOT: linalg.fill ins(%{{.*}}) outs(%[[SUMS]]
// CHECK-COUNT-4: amx.tile_zero
// CHECK: scf.for
// CHECK-COUNT-24: amx.tile_mulf
// CHECK: scf.yield
// CHECK-COUNT-4: amx.tile_store
// CHECK-COUNT-2: amx.tile_zero
// CHECK: scf.for
// CHECK-COUNT-12: amx.tile_mulf
// CHECK: scf.yield
// CHECK-COUNT-2: amx.tile_store
// CHECK: scf.for %[[ROW:[0-9]+]] =
// CHECK: memref.subview %[[SUMS]][%[[ROW]], 0, 0] [1, 1, 16]
// CHECK: %[[Y:.*]] = memref.subview %y[{{.*}}] [1, 1, 16]
// CHECK-NEXT: linalg.fill ins(%[[ZERO]] : f32) outs(%[[Y]]
// CHECK: linalg.generic
// CHECK-SAME: outs(%[[Y]]
// CHECK: arith.select
// CHECK: linalg.generic
// CHECK-SAME: outs(%[[Y]]
// CHECK: arith.maximumf
// CHECK: memref.subview %[[SUMS]][%[[ROW]], 1, 0] [1, 1, 16]
// CHECK: arith.maximumf
// CHECK: %[[ANY:.*]] = arith.cmpf une
// CHECK: scf.if %[[ANY]]
// CHECK: scf.for
// CHECK: scf.if
// CHECK: linalg.fill ins(%[[ZERO]] : f32)
// CHECK: linalg.generic
// CHECK-SAME: attrs = {mlc.cold}
// CHECK: arith.maximumf
// CHECK: scf.reduce
// CHECK: scf.parallel
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<48x1x16xf32>
// CHECK-COUNT-2: amx.tile_zero
// CHECK-COUNT-12: amx.tile_mulf
// CHECK: scf.yield
// CHECK: amx.tile_zero
// CHECK-COUNT-6: amx.tile_mulf
// CHECK: scf.yield
// CHECK: func.return
//
// Groups of one tile.
// ONE-LABEL: func.func private @fill_and_relu
// ONE: memref.alloca() {alignment = 64 : i64} : memref<16x2x16xf32>
// ONE-COUNT-12: amx.tile_mulf
// ONE-NOT: amx.tile_mulf
// ONE: memref.alloca() {alignment = 64 : i64} : memref<16x1x16xf32>
// ONE-COUNT-6: amx.tile_mulf
// ONE-NOT: amx.tile_mulf
// ONE: func.return
func.func private @fill_and_relu(%x: memref<37x48xf32>, %w: memref<3x66x16xf32>, %b: memref<3x16xf32>, %y: memref<37x3x16xf32>, %s: memref<3x2x3x16x32xbf16>, %r: memref<5x37xf32>, %q: memref<2x2x3x16x32xbf16>) attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%y : memref<37x3x16xf32>)
  "linalg_ext.split_matmul"(%x, %w, %y, %s, %r, %q) : (memref<37x48xf32>, memref<3x66x16xf32>, memref<37x3x16xf32>, memref<3x2x3x16x32xbf16>, memref<5x37xf32>, memref<2x2x3x16x32xbf16>) -> ()
  linalg.generic {indexing_maps = [affine_map<(m, n1, n0) -> (n1, n0)>, #row], iterator_types = ["parallel", "parallel", "parallel"]} ins(%b : memref<3x16xf32>) outs(%y : memref<37x3x16xf32>) {
  ^bb0(%bias: f32, %old: f32):
    %sum = arith.addf %old, %bias : f32
    %none = arith.constant 0.0 : f32
    %relu = arith.maximumf %sum, %none : f32
    linalg.yield %relu : f32
  }
  func.return
}

// What is added to is there only once: plain rows are added before the others. Each piece has a sum of its own, which
// is added to those before; the last one is a step shorter. What works on the output elsewhere than element by element stays where it is.
// CHECK-LABEL: func.func private @onto
// CHECK: scf.parallel
// CHECK: %[[SUMS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<16x1x16xf32>
// CHECK: scf.if
// CHECK: linalg.generic
// CHECK-SAME: attrs = {mlc.cold}
// CHECK: linalg.fill ins(%{{.*}}) outs(%[[SUMS]]
// CHECK: scf.for
// CHECK: "linalg_ext.bf16_parts"
// CHECK: %[[OF_PIECE:.*]] = memref.alloca() {alignment = 64 : i64} : memref<16x1x16xf32>
// CHECK: amx.tile_zero
// CHECK-COUNT-6: amx.tile_mulf
// CHECK: amx.tile_store
// CHECK: scf.for %[[LINE:[0-9]+]] =
// CHECK: %[[BEFORE:.*]] = vector.load %[[SUMS]][%[[AT:.*]], %{{.*}}, %{{.*}}]
// CHECK-NEXT: %[[MORE:.*]] = vector.load %[[OF_PIECE]][%[[LINE]],
// CHECK-NEXT: %[[TOTAL:.*]] = arith.addf %[[BEFORE]], %[[MORE]]
// CHECK-NEXT: vector.store %[[TOTAL]], %[[SUMS]][%[[AT]],
// CHECK: "linalg_ext.bf16_parts"
// CHECK: amx.tile_zero
// CHECK-COUNT-6: amx.tile_mulf
// CHECK: amx.tile_store
// CHECK: arith.addf
// CHECK: vector.store %{{.*}}, %[[SUMS]][
// CHECK-NOT: amx.tile_mulf
// CHECK-NOT: linalg.fill
// CHECK: scf.reduce
// CHECK: linalg.generic
// CHECK: linalg.index
// CHECK: func.return
func.func private @onto(%x: memref<16x160xf32>, %w: memref<1x162x16xf32>, %y: memref<16x1x16xf32>, %s: memref<1x5x3x16x32xbf16>, %r: memref<5x16xf32>, %q: memref<2x2x3x16x32xbf16>) attributes {kernel} {
  "linalg_ext.split_matmul"(%x, %w, %y, %s, %r, %q) : (memref<16x160xf32>, memref<1x162x16xf32>, memref<16x1x16xf32>, memref<1x5x3x16x32xbf16>, memref<5x16xf32>, memref<2x2x3x16x32xbf16>) -> ()
  linalg.generic {indexing_maps = [#row], iterator_types = ["parallel", "parallel", "parallel"]} outs(%y : memref<16x1x16xf32>) {
  ^bb0(%old: f32):
    %i = linalg.index 2 : index
    %n = arith.index_cast %i : index to i32
    %f = arith.sitofp %n : i32 to f32
    %sum = arith.addf %old, %f : f32
    linalg.yield %sum : f32
  }
  func.return
}

// Pixels, prepared where they are, are rows one after the other: 30 of them in two tiles, the sums back to their pixels.
// CHECK-LABEL: func.func private @pixels
// CHECK: scf.parallel (%[[I:[0-9]+]]) =
// CHECK: scf.parallel (%[[J:[0-9]+]]) =
// CHECK: memref.subview %x[%[[I]], 0, %[[J]], 0, 0] [1, 2, 1, 5, 16]
// CHECK: scf.for %[[K:[0-9]+]] =
// CHECK: vector.load %x[%[[I]], %{{[0-9]+}}, %[[J]], %[[K]], %{{[0-9]+}}]
// CHECK: scf.parallel
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<32x1x16xf32>
// CHECK: arith.minsi
// CHECK-COUNT-12: amx.tile_mulf
// CHECK: scf.for
// CHECK: %[[C:[0-9]+]] = arith.remui
// CHECK: arith.divui
// CHECK: %[[B:[0-9]+]] = arith.remui
// CHECK: %[[A:[0-9]+]] = arith.divui
// CHECK: memref.subview %y[%[[A]], 0, %[[B]], %[[C]], 0] [1, 1, 1, 1, 16]
// CHECK: func.return
func.func private @pixels(%x: memref<2x2x3x5x16xf32>, %w: memref<1x34x16xf32>, %y: memref<2x1x3x5x16xf32>, %s: memref<2x1x3x16x32xbf16>, %r: memref<5x2x3x5xf32>, %q: memref<2x1x3x16x32xbf16>) attributes {kernel} {
  "linalg_ext.split_matmul"(%x, %w, %y, %s, %r, %q) : (memref<2x2x3x5x16xf32>, memref<1x34x16xf32>, memref<2x1x3x5x16xf32>, memref<2x1x3x16x32xbf16>, memref<5x2x3x5xf32>, memref<2x1x3x16x32xbf16>) -> ()
  func.return
}
