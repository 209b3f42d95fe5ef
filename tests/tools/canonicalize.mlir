// RUN: mlc-opt --canonicalize --mlir-print-debuginfo %s | filecheck %s

// An f32 that overflows stays for run time; what folds keeps its place in the source.
// CHECK-LABEL: func.func @overflow
// CHECK: arith.mulf
// CHECK-LABEL: func.func @folds
// CHECK: arith.constant 5 : i32 loc("model.py":7:1)
func.func @overflow() -> f32 {
  %0 = arith.constant 3.0e38 : f32
  %1 = arith.mulf %0, %0 : f32
  return %1 : f32
}
func.func @folds() -> i32 {
  %0 = arith.constant 2 : i32
  %1 = arith.constant 3 : i32
  %2 = arith.addi %0, %1 : i32 loc("model.py":7:1)
  return %2 : i32
}
