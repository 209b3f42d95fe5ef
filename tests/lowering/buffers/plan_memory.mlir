// RUN: mlc-opt --plan-memory --split-input-file %s | filecheck %s

// Three buffers, two alive at a time: two slots. Views keep their root alive.

// CHECK: func.func @forward(%{{.*}}: memref<8xf32>, %{{.*}}: memref<8xf32>, %[[ARENA:.*]]: memref<?xi8>) attributes {num_inputs = 1 : i64} {
// CHECK: memref.view %[[ARENA]]{{\[}}%[[A:.*]]{{\]\[\]}} : memref<?xi8> to memref<8xf32>
// CHECK: memref.view %[[ARENA]]{{\[}}%[[B:.*]]{{\]\[\]}} : memref<?xi8> to memref<8xf32>
// CHECK: memref.view %[[ARENA]]{{\[}}%[[A]]{{\]\[\]}} : memref<?xi8> to memref<8xf32>
// CHECK-NOT: memref.alloc
// CHECK: func.func @arena_size() -> index {
// CHECK-NEXT: %[[S:.*]] = arith.constant 128 : index
// CHECK-NEXT: func.return %[[S]] : index
func.func @forward(%x: memref<8xf32>, %out: memref<8xf32>) attributes {num_inputs = 1 : i64} {
  %a = memref.alloc() : memref<8xf32>
  func.call @k(%x, %a) : (memref<8xf32>, memref<8xf32>) -> ()
  %b = memref.alloc() : memref<8xf32>
  func.call @k(%a, %b) : (memref<8xf32>, memref<8xf32>) -> ()
  %c = memref.alloc() : memref<8xf32>
  %v = memref.expand_shape %b [[0, 1]] output_shape [2, 4] : memref<8xf32> into memref<2x4xf32>
  %w = memref.collapse_shape %v [[0, 1]] : memref<2x4xf32> into memref<8xf32>
  func.call @k(%w, %c) : (memref<8xf32>, memref<8xf32>) -> ()
  func.call @k(%c, %out) : (memref<8xf32>, memref<8xf32>) -> ()
  func.return
}
func.func private @k(%x: memref<8xf32>, %out: memref<8xf32>) attributes {kernel} {
  func.return
}

// -----

// Dynamic sizes: the offset of the second buffer is the aligned size of the first.

// CHECK: func.func @forward(%[[X:.*]]: memref<?xf32>, %{{.*}}: memref<?xf32>, %[[ARENA:.*]]: memref<?xi8>)
// CHECK: %[[N:.*]] = memref.dim %[[X]]
// CHECK: %[[BYTES:.*]] = arith.muli %[[N]], %{{.*}} : index
// CHECK: %[[UP:.*]] = arith.addi %[[BYTES]], %{{.*}} : index
// CHECK: %[[BLOCKS:.*]] = arith.floordivsi %[[UP]], %{{.*}} : index
// CHECK: %[[SIZE:.*]] = arith.muli %[[BLOCKS]], %{{.*}} : index
// CHECK: memref.view %[[ARENA]]{{\[}}%{{.*}}{{\]\[}}%[[N]]{{\]}} : memref<?xi8> to memref<?xf32>
// CHECK: memref.view %[[ARENA]]{{\[}}%[[SIZE]]{{\]\[}}%[[N]]{{\]}} : memref<?xi8> to memref<?xf32>
// CHECK: func.func @arena_size(%[[M:.*]]: index) -> index {
func.func @forward(%x: memref<?xf32>, %out: memref<?xf32>) attributes {num_inputs = 1 : i64} {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?xf32>
  %a = memref.alloc(%n) : memref<?xf32>
  func.call @k(%x, %a) : (memref<?xf32>, memref<?xf32>) -> ()
  %m = memref.dim %a, %c0 : memref<?xf32>
  %b = memref.alloc(%m) : memref<?xf32>
  func.call @k(%a, %b) : (memref<?xf32>, memref<?xf32>) -> ()
  func.call @k(%b, %out) : (memref<?xf32>, memref<?xf32>) -> ()
  func.return
}
func.func private @k(%x: memref<?xf32>, %out: memref<?xf32>) attributes {kernel} {
  func.return
}

// -----

// A buffer that is read in a loop lives until the loop ends; zero-size buffers take no room.

// CHECK: func.func @forward
// CHECK: func.func @arena_size() -> index {
// CHECK-NEXT: arith.constant 128 : index
func.func @forward(%x: memref<8xf32>, %out: memref<8xf32>) attributes {num_inputs = 1 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %a = memref.alloc() : memref<8xf32>
  %z = memref.alloc() : memref<0xf32>
  func.call @z(%z) : (memref<0xf32>) -> ()
  func.call @k(%x, %a) : (memref<8xf32>, memref<8xf32>) -> ()
  scf.for %i = %c0 to %c4 step %c1 {
    func.call @k(%a, %out) : (memref<8xf32>, memref<8xf32>) -> ()
    %b = memref.alloc() : memref<8xf32>
    func.call @k(%x, %b) : (memref<8xf32>, memref<8xf32>) -> ()
    func.call @k(%b, %out) : (memref<8xf32>, memref<8xf32>) -> ()
  }
  func.return
}
func.func private @k(%x: memref<8xf32>, %out: memref<8xf32>) attributes {kernel} {
  func.return
}
func.func private @z(%x: memref<0xf32>) attributes {kernel} {
  func.return
}
