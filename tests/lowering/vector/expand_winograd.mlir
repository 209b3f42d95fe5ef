// RUN: mlc-opt --expand-winograd='vector_registers=32' %s | filecheck %s
// RUN: mlc-opt --expand-winograd='vector_registers=16' %s | filecheck %s --check-prefix=FEW

#id = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3, d4)>

// Two rows of two tiles, one row at a time; three pieces of the channels; the epilogue goes into the output transform.
// CHECK-LABEL: func.func private @whole_tiles
// CHECK: scf.for
// CHECK: scf.parallel
// CHECK: scf.for
// CHECK: memref.subview %{{.*}} [1, 1, 6, 6, 4] {{.*}} to memref<6x6x4xf32
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0) -> (5, 5, d0)>
// CHECK: math.fma
// CHECK: scf.parallel
// CHECK: linalg.fill
// CHECK: scf.for
// CHECK: %[[PART:.*]] = memref.alloca() {alignment = 64 : i64} : memref<1x1x1x2x4xf32>
// CHECK: linalg.fill ins(%{{.*}}) outs(%[[PART]]
// CHECK: linalg.generic
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[PART]]
// CHECK: scf.reduce
// CHECK: scf.for
// CHECK: memref.subview %{{.*}} [1, 1, 4, 4, 4] {{.*}} to memref<4x4x4xf32
// CHECK: linalg.generic
// CHECK-COUNT-16: math.fma %[[Y:.*]], %[[Y]],
// CHECK-COUNT-16: arith.maximumf
// The squares of all outputs tell whether the block is computed again, directly, with the epilogue.
// CHECK: linalg.generic
// CHECK-SAME: outs(%[[TOTAL:.*]] : memref<f32>)
// CHECK: %[[SUM:.*]] = memref.load %[[TOTAL]][]
// CHECK: %[[SCALED:.*]] = arith.mulf %[[SUM]],
// CHECK: %[[BEYOND:.*]] = arith.cmpf ueq, %[[SCALED]],
// CHECK: scf.if %[[BEYOND]]
// CHECK: memref.subview %{{.*}} [1, 3, 3, 3, 4, 4]
// CHECK: linalg.fill
// CHECK: linalg.generic
// CHECK-SAME: attrs = {mlc.cold}
// CHECK: linalg.generic
// CHECK: arith.maximumf
// CHECK-NOT: linalg.generic
// CHECK: func.return
// Few registers: one way after the other, by way of the stack.
// FEW-LABEL: func.func private @whole_tiles
// FEW: scf.parallel
// FEW: %[[X:.*]] = memref.subview %{{.*}} [1, 1, 6, 6, 4] {{.*}} to memref<6x6x4xf32
// FEW: %[[HALF:.*]] = memref.alloca() {alignment = 64 : i64} : memref<6x6x4xf32>
// FEW: scf.for
// FEW: memref.subview %[[X]]
// FEW: memref.subview %[[HALF]]
// FEW: linalg.generic
// FEW-SAME: affine_map<(d0) -> (5, d0)>
// FEW: scf.for
// FEW: memref.subview %[[HALF]]
// FEW: linalg.generic
// FEW: scf.parallel
// FEW: memref.alloca() {alignment = 64 : i64} : memref<4x6x4xf32>
// FEW: scf.for
// FEW: linalg.generic
// FEW: linalg.fill
// FEW: scf.for
// FEW: linalg.generic
// FEW-COUNT-4: math.fma %[[Y:.*]], %[[Y]],
// FEW-NOT: math.fma
// FEW-COUNT-4: arith.maximumf
// FEW: func.return
func.func private @whole_tiles(%x: memref<1x3x10x10x4xf32>, %w: memref<1x3x3x3x4x4xf32>, %u: memref<3x36x1x4x4xf32>, %b: memref<1x4xf32>, %y: memref<1x1x8x8x4xf32, strided<[400, 400, 40, 4, 1], offset: ?>>, %v: memref<3x36x1x1x2x1x4xf32>, %m: memref<36x1x1x1x2x4xf32>) attributes {kernel} {
  "linalg_ext.winograd_conv_2d"(%x, %w, %y, %v, %m, %u) {tile = array<i64: 4, 4>, block = array<i64: 1, 1, 2>, transformed} : (memref<1x3x10x10x4xf32>, memref<1x3x3x3x4x4xf32>, memref<1x1x8x8x4xf32, strided<[400, 400, 40, 4, 1], offset: ?>>, memref<3x36x1x1x2x1x4xf32>, memref<36x1x1x1x2x4xf32>, memref<3x36x1x4x4xf32>) -> ()
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4) -> (d1, d4)>, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]} ins(%b : memref<1x4xf32>) outs(%y : memref<1x1x8x8x4xf32, strided<[400, 400, 40, 4, 1], offset: ?>>) {
  ^bb0(%bias: f32, %old: f32):
    %s = arith.addf %old, %bias : f32
    %zero = arith.constant 0.0 : f32
    %r = arith.maximumf %s, %zero : f32
    linalg.yield %r : f32
  }
  func.return
}

// 6x8 outputs: the second row of tiles moves back to row 2. What works on the output elsewhere stays where it is.
// CHECK-LABEL: func.func private @last_tile_moves_back
// CHECK: %[[LAST:.*]] = arith.constant 2 : index
// CHECK: arith.minsi %{{.*}}, %[[LAST]]
// CHECK-COUNT-2: linalg.generic
// CHECK: arith.minsi %{{.*}}, %[[LAST]]
// CHECK-COUNT-2: linalg.generic
// CHECK: scf.if
// CHECK: arith.minsi %{{.*}}, %[[LAST]]
// CHECK-COUNT-2: linalg.generic
// CHECK-NOT: linalg.generic
// CHECK: func.return
func.func private @last_tile_moves_back(%x: memref<1x1x8x10x4xf32>, %w: memref<1x1x3x3x4x4xf32>, %u: memref<1x36x1x4x4xf32>, %y: memref<1x1x6x8x4xf32>, %v: memref<1x36x1x2x2x1x4xf32>, %m: memref<36x1x1x2x2x4xf32>) attributes {kernel} {
  "linalg_ext.winograd_conv_2d"(%x, %w, %y, %v, %m, %u) {tile = array<i64: 4, 4>, block = array<i64: 1, 2, 2>, transformed} : (memref<1x1x8x10x4xf32>, memref<1x1x3x3x4x4xf32>, memref<1x1x6x8x4xf32>, memref<1x36x1x2x2x1x4xf32>, memref<36x1x1x2x2x4xf32>, memref<1x36x1x4x4xf32>) -> ()
  linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]} outs(%y : memref<1x1x6x8x4xf32>) {
  ^bb0(%old: f32):
    %i = linalg.index 4 : index
    %n = arith.index_cast %i : index to i32
    %f = arith.sitofp %n : i32 to f32
    %r = arith.addf %old, %f : f32
    linalg.yield %r : f32
  }
  func.return
}

// Enough blocks: threads take whole blocks, each with tiles and products of its own. The last tile of the columns moves back,
// so that it and the one before it are one iteration, in order.

// CHECK-LABEL: func.func private @many_blocks
// CHECK-DAG: %[[TWO:.*]] = arith.constant 2 : index
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1 : index
// CHECK: scf.parallel ({{.*}}, {{.*}}, %[[C:.*]]) = ({{.*}}) to (%[[TWO]], %{{.*}}, %[[TWO]]) step
// CHECK: %[[V:.*]] = "linalg_ext.private"(%v)
// CHECK: %[[M:.*]] = "linalg_ext.private"(%m)
// CHECK: %[[LAST:.*]] = arith.cmpi eq, %[[C]], %[[ONE]]
// CHECK: %[[N:.*]] = arith.select %[[LAST]], %[[TWO]], %[[ONE]]
// CHECK: %[[END:.*]] = arith.addi %[[C]], %[[N]]
// CHECK: scf.for %{{.*}} = %[[C]] to %[[END]] step %[[ONE]]
// CHECK: memref.subview %[[V]]
// CHECK: memref.subview %[[M]]
// CHECK: func.return
func.func private @many_blocks(%x: memref<2x1x26x13x4xf32>, %w: memref<1x1x3x3x4x4xf32>, %u: memref<1x36x1x4x4xf32>, %y: memref<2x1x24x11x4xf32>, %v: memref<1x36x1x1x1x1x4xf32>, %m: memref<36x1x1x1x1x4xf32>) attributes {kernel} {
  "linalg_ext.winograd_conv_2d"(%x, %w, %y, %v, %m, %u) {tile = array<i64: 4, 4>, block = array<i64: 1, 1, 1>, transformed} : (memref<2x1x26x13x4xf32>, memref<1x1x3x3x4x4xf32>, memref<2x1x24x11x4xf32>, memref<1x36x1x1x1x1x4xf32>, memref<36x1x1x1x1x4xf32>, memref<1x36x1x4x4xf32>) -> ()
  func.return
}

// Groups of filters in parallel, each with transformed filters and products of its own: two rows of positions of one piece
// of the channels at a time, three times: each has transforms of its own, all the same products. The taps of the next piece
// are brought near meanwhile. With few registers only the first way of the transforms differs.

// CHECK-LABEL: func.func private @groups
// CHECK: scf.parallel
// CHECK: memref.subview %x
// CHECK: scf.parallel
// CHECK: %[[M:.*]] = "linalg_ext.private"(%m)
// CHECK: %[[U:.*]] = "linalg_ext.private"(%u)
// CHECK: linalg.fill ins({{.*}}) outs(%[[M]]
// CHECK: scf.for
// CHECK: scf.for %[[P:[0-9]+]] = %[[ZERO:[0-9]+]] to
// CHECK: memref.subview %w
// CHECK: memref.subview %[[U]]
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[P]], %[[ZERO]]
// CHECK: scf.if %[[FIRST]]
// CHECK: linalg.generic
// CHECK: arith.cmpi eq, %[[P]]
// CHECK: linalg.generic
// CHECK: arith.cmpi eq, %[[P]]
// CHECK: linalg.generic
// CHECK: scf.for %[[I:[0-9]+]] =
// CHECK: arith.addi %[[I]], %[[P]]
// CHECK: memref.prefetch
// CHECK-NOT: memref.prefetch
// CHECK: memref.subview %[[M]]
// CHECK: linalg.generic
// CHECK-NOT: memref.prefetch
// CHECK: arith.divf
// CHECK: func.return
// FEW-LABEL: func.func private @groups
// FEW: scf.parallel
// FEW: scf.parallel
// FEW: %[[M:.*]] = "linalg_ext.private"(%m)
// FEW: %[[U:.*]] = "linalg_ext.private"(%u)
// FEW: scf.for %[[P:[0-9]+]] = %[[ZERO:[0-9]+]] to
// FEW: memref.subview %[[U]]
// FEW: %[[HALF:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x3x4x4xf32>
// FEW-COUNT-3: arith.cmpi eq
// FEW: scf.for
// FEW: memref.subview %[[HALF]]
// FEW: linalg.generic
// FEW-NOT: arith.cmpi eq
// FEW: arith.divf
// FEW: func.return
func.func private @groups(%x: memref<1x2x8x10x4xf32>, %w: memref<3x2x3x3x4x4xf32>, %y: memref<1x3x6x8x4xf32>, %v: memref<2x36x1x2x2x1x4xf32>, %m: memref<36x1x1x2x2x4xf32>, %u: memref<1x12x1x5x4xf32>) attributes {kernel} {
  "linalg_ext.winograd_conv_2d"(%x, %w, %y, %v, %m, %u) {tile = array<i64: 4, 4>, block = array<i64: 1, 2, 2>} : (memref<1x2x8x10x4xf32>, memref<3x2x3x3x4x4xf32>, memref<1x3x6x8x4xf32>, memref<2x36x1x2x2x1x4xf32>, memref<36x1x1x2x2x4xf32>, memref<1x12x1x5x4xf32>) -> ()
  func.return
}
