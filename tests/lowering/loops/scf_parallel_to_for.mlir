// RUN: mlc-opt --scf-parallel-to-for %s | filecheck %s

// Two parallel loops with a reduction become two nested loops that carry it.

// CHECK: func.func @sum
// CHECK-NOT: scf.parallel
// CHECK: %[[R:.*]] = scf.for %[[I:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[A:.*]] = %[[Z:.*]]) -> (f32) {
// CHECK-NEXT: %[[Q:.*]] = scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[B:.*]] = %[[A]]) -> (f32) {
// CHECK-NEXT: %[[V:.*]] = memref.load %{{.*}}{{\[}}%[[I]], %[[J]]{{\]}}
// CHECK-NEXT: %[[S:.*]] = arith.addf %[[B]], %[[V]] : f32
// CHECK-NEXT: scf.yield %[[S]] : f32
// CHECK: scf.yield %[[Q]] : f32
// CHECK: func.return %[[R]] : f32
func.func @sum(%x: memref<4x4xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %z = arith.constant 0.0 : f32
  %r = "scf.parallel"(%c0, %c0, %c4, %c4, %c1, %c1, %z) <{operandSegmentSizes = array<i32: 2, 2, 2, 1>}> ({
  ^bb0(%i: index, %j: index):
    %v = memref.load %x[%i, %j] : memref<4x4xf32>
    "scf.reduce"(%v) ({
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      "scf.reduce.return"(%s) : (f32) -> ()
    }) : (f32) -> ()
  }) : (index, index, index, index, index, index, f32) -> f32
  func.return %r : f32
}
