// RUN: mlc-opt --share-kernels="least=2" --split-input-file %s | filecheck %s

// Two normalisations over 2 and 5 blocks of channels: one kernel with that number open, casts before its calls.

// CHECK: func.func @forward(
// CHECK-NEXT: %[[X:[0-9]+]] = "memref.cast"(%x) : (memref<1x2x3x8xf32>) -> memref<1x?x3x8xf32>
// CHECK-NEXT: %[[S:[0-9]+]] = "memref.cast"(%s) : (memref<2x8xf32>) -> memref<?x8xf32>
// CHECK-NEXT: %[[O:[0-9]+]] = "memref.cast"(%x)
// CHECK-NEXT: func.call @scale_0(%[[X]], %[[S]], %[[O]]) : (memref<1x?x3x8xf32>, memref<?x8xf32>, memref<1x?x3x8xf32>) -> ()
// CHECK-NOT: @scale_1
// CHECK: func.func private @scale_0(%{{.*}}: memref<1x?x3x8xf32> {mlc.at_most = array<i64: 1, 5, 3, 8>}, %{{.*}}: memref<?x8xf32> {mlc.at_most = array<i64: 5, 8>}, %{{.*}}: memref<1x?x3x8xf32> {mlc.at_most = array<i64: 1, 5, 3, 8>}) attributes {kernel} {
// CHECK-NOT: @scale_1
func.func @forward(%x: memref<1x2x3x8xf32>, %s: memref<2x8xf32>, %y: memref<1x5x3x8xf32>, %t: memref<5x8xf32>) {
  func.call @scale_0(%x, %s, %x) : (memref<1x2x3x8xf32>, memref<2x8xf32>, memref<1x2x3x8xf32>) -> ()
  func.call @scale_1(%y, %t, %y) : (memref<1x5x3x8xf32>, memref<5x8xf32>, memref<1x5x3x8xf32>) -> ()
  func.return
}
func.func private @scale_0(%0: memref<1x2x3x8xf32>, %1: memref<2x8xf32>, %2: memref<1x2x3x8xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%0, %1 : memref<1x2x3x8xf32>, memref<2x8xf32>) outs(%2 : memref<1x2x3x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    linalg.yield %m : f32
  }
  func.return
}
func.func private @scale_1(%0: memref<1x5x3x8xf32>, %1: memref<5x8xf32>, %2: memref<1x5x3x8xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d1, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%0, %1 : memref<1x5x3x8xf32>, memref<5x8xf32>) outs(%2 : memref<1x5x3x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    linalg.yield %m : f32
  }
  func.return
}

// -----

// Borders of two sizes, filled with the same value: all sizes and strides are open but for what lies side by side.

// CHECK: func.call @border_0(%{{.*}}) : (memref<1x?x1x?x8xf32, strided<[?, ?, ?, 8, 1], offset: ?>>) -> ()
// CHECK-NEXT: "memref.cast"
// CHECK-NEXT: func.call @border_0(%{{.*}}) : (memref<1x?x1x?x8xf32, strided<[?, ?, ?, 8, 1], offset: ?>>) -> ()
// CHECK: func.func private @border_0(%{{.*}}: memref<1x?x1x?x8xf32, strided<[?, ?, ?, 8, 1], offset: ?>> {mlc.at_most = array<i64: 1, 4, 1, 5, 8>}) attributes {kernel} {
// CHECK-NOT: @border_1
func.func @forward(%x: memref<1x2x1x5x8xf32, strided<[400, 200, 40, 8, 1], offset: ?>>, %y: memref<1x4x1x3x8xf32, strided<[288, 72, 24, 8, 1], offset: ?>>) {
  func.call @border_0(%x) : (memref<1x2x1x5x8xf32, strided<[400, 200, 40, 8, 1], offset: ?>>) -> ()
  func.call @border_1(%y) : (memref<1x4x1x3x8xf32, strided<[288, 72, 24, 8, 1], offset: ?>>) -> ()
  func.return
}
func.func private @border_0(%0: memref<1x2x1x5x8xf32, strided<[400, 200, 40, 8, 1], offset: ?>>) attributes {kernel} {
  %z = arith.constant 0.000000e+00 : f32
  linalg.fill ins(%z : f32) outs(%0 : memref<1x2x1x5x8xf32, strided<[400, 200, 40, 8, 1], offset: ?>>)
  func.return
}
func.func private @border_1(%0: memref<1x4x1x3x8xf32, strided<[288, 72, 24, 8, 1], offset: ?>>) attributes {kernel} {
  %z = arith.constant 0.000000e+00 : f32
  linalg.fill ins(%z : f32) outs(%0 : memref<1x4x1x3x8xf32, strided<[288, 72, 24, 8, 1], offset: ?>>)
  func.return
}

// -----

// What lies side by side in memory keeps its size: the code for it would be slower.

// CHECK: func.call @copy_0
// CHECK: func.call @copy_1
// CHECK-NOT: memref.cast
func.func @forward(%x: memref<8xf32>, %y: memref<16xf32>) {
  func.call @copy_0(%x, %x) : (memref<8xf32>, memref<8xf32>) -> ()
  func.call @copy_1(%y, %y) : (memref<16xf32>, memref<16xf32>) -> ()
  func.return
}
func.func private @copy_0(%0: memref<8xf32>, %1: memref<8xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%0 : memref<8xf32>) outs(%1 : memref<8xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  }
  func.return
}
func.func private @copy_1(%0: memref<16xf32>, %1: memref<16xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%0 : memref<16xf32>) outs(%1 : memref<16xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  }
  func.return
}
