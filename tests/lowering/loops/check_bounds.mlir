// RUN: mlc-opt --check-bounds %s | filecheck %s

// Indices against the sizes, a whole vector at once.

// CHECK: func.func @copy
// CHECK: memref.dim %x
// CHECK: arith.cmpi sge, %i
// CHECK: arith.cmpi sle
// CHECK: cf.assert %{{.*}}, "vector.load outside of its memory at model.py:7"
// CHECK-NEXT: vector.load %x
// CHECK: cf.assert %{{.*}}, "memref.store outside of its memory at
// CHECK-NEXT: memref.store
func.func @copy(%x: memref<?xf32>, %y: memref<4xf32>, %i: index) {
  %v = vector.load %x[%i] : memref<?xf32>, vector<4xf32> loc("model.py":7:0)
  %s = memref.load %x[%i] : memref<?xf32>
  memref.store %s, %y[%i] : memref<4xf32>
  func.return
}

// A flat view says nothing of its memory: the buffer that it was made of does.

// CHECK: func.func @view
// CHECK: memref.extract_strided_metadata %x
// CHECK-NOT: memref.dim
// CHECK: cf.assert
// CHECK-NEXT: memref.load
func.func @view(%x: memref<2x3xf32, strided<[16, 1], offset: ?>>, %i: index) -> f32 {
  %base, %offset, %s0, %s1, %t0, %t1 = memref.extract_strided_metadata %x
    : memref<2x3xf32, strided<[16, 1], offset: ?>> -> memref<f32>, index, index, index, index, index
  %flat = memref.reinterpret_cast %base to offset: [%offset], sizes: [100], strides: [1]
    : memref<f32> to memref<100xf32, strided<[1], offset: ?>>
  %v = memref.load %flat[%i] : memref<100xf32, strided<[1], offset: ?>>
  func.return %v : f32
}
