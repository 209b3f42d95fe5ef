// RUN: mlc-opt --linalg-to-loops %s | filecheck %s

// A sum over the last dimension is kept in a register; the destination is loaded before and stored after the loop.

// CHECK: func.func private @sum(%[[X:.*]]: memref<?x8xf32>, %[[Y:.*]]: memref<?xf32>)
// CHECK: %[[N:.*]] = memref.dim %{{.*}}, %{{.*}} : memref<?x{{.*}}
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %[[N]] step
// CHECK-NEXT: %[[OLD:.*]] = memref.load %[[Y]]{{\[}}%[[I]]{{\]}}
// CHECK-NEXT: %[[R:.*]] = scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[S:.*]] = %[[OLD]]) -> (f32) {
// CHECK-NEXT: %[[V:.*]] = memref.load %[[X]]{{\[}}%[[I]], %[[J]]{{\]}}
// CHECK-NEXT: %[[T:.*]] = arith.addf %[[V]], %[[S]] : f32
// CHECK-NEXT: scf.yield %[[T]] : f32
// CHECK: memref.store %[[R]], %[[Y]]{{\[}}%[[I]]{{\]}}
func.func private @sum(%x: memref<?x8xf32>, %y: memref<?xf32>) attributes {kernel} {
  linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]} ins(%x : memref<?x8xf32>) outs(%y : memref<?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  }
  func.return
}
