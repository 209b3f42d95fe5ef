// RUN: mlc-opt --vectorize-structured="vector_bits=256 vector_registers=16 twice=1" --split-input-file %s | filecheck %s

// Rows left over by the tiles: one more tile begins at the last rows, in one iteration with the tile before it.

// CHECK-LABEL: func.func @anew
// CHECK: scf.parallel (%[[ROW:[0-9]+]]) =
// CHECK: %[[BEFORE:.*]] = arith.cmpi eq, %[[ROW]], %{{.*}} : index
// CHECK-NEXT: %[[BOTH:.*]] = arith.select %[[BEFORE]]
// CHECK-NEXT: %[[END:.*]] = arith.addi %[[ROW]], %[[BOTH]]
// CHECK-NEXT: scf.for %[[AT:[0-9]+]] = %[[ROW]] to %[[END]]
// CHECK-NEXT: arith.minui %[[AT]]
// CHECK: vector.fma
// CHECK: vector.store
// CHECK: scf.reduce
// CHECK-NOT: vector.fma
// CHECK: func.return
func.func @anew(%a: memref<47x3xf32>, %w: memref<3x8xf32>, %o: memref<47x8xf32>) attributes {kernel} {
  %z = arith.constant 0.0 : f32
  linalg.fill ins(%z : f32) outs(%o : memref<47x8xf32>)
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d2, d1)>, affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %w : memref<47x3xf32>, memref<3x8xf32>) outs(%o : memref<47x8xf32>) {
  ^bb0(%x: f32, %y: f32, %old: f32):
    %p = arith.mulf %x, %y : f32
    %s = arith.addf %p, %old : f32
    linalg.yield %s : f32
  }
  func.return
}

// -----

// What adds to what is there may not be done twice: rows left over have code of their own.

// CHECK-LABEL: func.func @adds
// CHECK-NOT: arith.minui
// CHECK: vector.fma
// CHECK: scf.reduce
// CHECK: vector.fma
// CHECK: func.return
func.func @adds(%a: memref<47x3xf32>, %w: memref<3x8xf32>, %o: memref<47x8xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d2, d1)>, affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %w : memref<47x3xf32>, memref<3x8xf32>) outs(%o : memref<47x8xf32>) {
  ^bb0(%x: f32, %y: f32, %old: f32):
    %p = arith.mulf %x, %y : f32
    %s = arith.addf %p, %old : f32
    linalg.yield %s : f32
  }
  func.return
}

// -----

// Nor what reads memory that may be that of its result.

// CHECK-LABEL: func.func @in_place
// CHECK-NOT: arith.minui
// CHECK: func.return
func.func @in_place(%a: memref<47x3xf32>, %w: memref<3x8xf32>, %r: memref<47x8xf32> {mlc.may_alias}, %o: memref<47x8xf32> {mlc.may_alias}) attributes {kernel} {
  %t = memref.alloca() : memref<47x8xf32>
  %z = arith.constant 0.0 : f32
  linalg.fill ins(%z : f32) outs(%t : memref<47x8xf32>)
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d2, d1)>, affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %w : memref<47x3xf32>, memref<3x8xf32>) outs(%t : memref<47x8xf32>) {
  ^bb0(%x: f32, %y: f32, %old: f32):
    %p = arith.mulf %x, %y : f32
    %s = arith.addf %p, %old : f32
    linalg.yield %s : f32
  }
  linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%t, %r : memref<47x8xf32>, memref<47x8xf32>) outs(%o : memref<47x8xf32>) {
  ^bb0(%x: f32, %y: f32, %old: f32):
    %s = arith.addf %x, %y : f32
    linalg.yield %s : f32
  }
  func.return
}
