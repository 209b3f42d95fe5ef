// RUN: mlc-opt --scf-parallel-outline='min-cost=20000' --scf-parallel-outline='min-cost=0' %s | filecheck %s

// The second run finds a name that the first one has not taken.
// CHECK-DAG: func.func private @forward.parallel_0(
// CHECK-DAG: func.func private @forward.parallel_1(
// CHECK-LABEL: func.func @forward(
// CHECK: func.call @forward.parallel_0(
// CHECK: func.call @forward.parallel_1(
func.func @forward(%x: memref<64x100xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %c100 = arith.constant 100 : index
  scf.parallel (%i) = (%c0) to (%c64) step (%c1) {
    scf.for %j = %c0 to %c100 step %c1 {
      %a = memref.load %x[%i, %j] : memref<64x100xf32>
      %b = arith.addf %a, %a : f32
      memref.store %b, %x[%i, %j] : memref<64x100xf32>
    }
    scf.reduce
  }
  scf.parallel (%i) = (%c0) to (%c64) step (%c1) {
    %a = memref.load %x[%i, %c0] : memref<64x100xf32>
    memref.store %a, %x[%i, %c1] : memref<64x100xf32>
    scf.reduce
  }
  func.return
}
