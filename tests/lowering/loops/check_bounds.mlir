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

// Views that are known to lie inside are left alone; others are checked where they are made.

// CHECK: func.func @slice
// CHECK-NEXT: memref.subview
// CHECK: cf.assert %{{.*}}, "memref.subview outside of its memory at model.py:9"
// CHECK-NEXT: memref.subview
// CHECK: cf.assert %{{.*}}, "memref.cast outside of its memory at
// CHECK-NEXT: memref.cast
// CHECK: cf.assert %{{.*}}, "scf.for with a step that is not positive at
// CHECK-NEXT: scf.for
func.func @slice(%x: memref<8xf32>, %y: memref<?xf32>, %i: index) {
  %a = memref.subview %x[4] [4] [1] : memref<8xf32> to memref<4xf32, strided<[1], offset: 4>>
  %b = memref.subview %x[%i] [4] [1] : memref<8xf32> to memref<4xf32, strided<[1], offset: ?>> loc("model.py":9:0)
  %c = memref.cast %y : memref<?xf32> to memref<8xf32>
  scf.for %j = %i to %i step %i {
  }
  func.return
}
