// RUN: mlc-opt --convert-tm-tensor-to-linalg %s | filecheck %s
// RUN: mlc-opt --verify-roundtrip %s | filecheck %s --check-prefix=TEXT
// RUN: mlc-opt %s --run --entry-point=topk | filecheck %s --check-prefix=VALUE
// RUN: mlc-opt %s --run --native --entry-point=topk | filecheck %s --check-prefix=VALUE
// RUN: mlc-opt %s --run --entry-point=sort | filecheck %s --check-prefix=SORT
// RUN: mlc-opt %s --run --native --entry-point=sort | filecheck %s --check-prefix=SORT
// RUN: not mlc-opt %s --run --entry-point=out_of_range 2>&1 | filecheck %s --check-prefix=RANGE
// RUN: not mlc-opt %s --run --native --entry-point=out_of_range 2>&1 | filecheck %s --check-prefix=RANGE

// CHECK-LABEL: func.func @cumsum
// CHECK: scf.for
// CHECK: scf.if
// CHECK: arith.addf
// CHECK: tensor.insert

// TEXT: tm_tensor.scan dimension(1) inclusive(true) ins(%x : tensor<3x?xf32>) outs(%y, %acc : tensor<3x?xf32>, tensor<3xf32>) {
func.func @cumsum(%x: tensor<3x?xf32>, %y: tensor<3x?xf32>, %acc: tensor<3xf32>) -> tensor<3x?xf32> {
  %0:2 = tm_tensor.scan dimension(1) inclusive(true) ins(%x : tensor<3x?xf32>) outs(%y, %acc : tensor<3x?xf32>, tensor<3xf32>) {
  ^bb0(%a: f32, %b: f32):
    %1 = arith.addf %a, %b : f32
    tm_tensor.yield %1 : f32
  } -> tensor<3x?xf32>, tensor<3xf32>
  return %0#0 : tensor<3x?xf32>
}

// TEXT: tm_tensor.topk dimension(0) ins(%{{.*}} : tensor<4xf32>) outs(
// VALUE: [7. 5.]
// VALUE: [2 0]
func.func @topk() -> (tensor<2xf32>, tensor<2xi32>) {
  %x = arith.constant dense<[5.0, 1.0, 7.0, 5.0]> : tensor<4xf32>
  %y = arith.constant dense<0xFF800000> : tensor<2xf32>
  %i = arith.constant dense<-1> : tensor<2xi32>
  %0:2 = tm_tensor.topk dimension(0) ins(%x : tensor<4xf32>) outs(%y, %i : tensor<2xf32>, tensor<2xi32>) {
  ^bb0(%a: f32, %b: f32):
    %1 = arith.cmpf ogt, %a, %b : f32
    tm_tensor.yield %1 : i1
  } -> tensor<2xf32>, tensor<2xi32>
  return %0#0, %0#1 : tensor<2xf32>, tensor<2xi32>
}

// TEXT: tm_tensor.scatter {dimension_map = array<i64: 0>} unique_indices(false) ins(
// RANGE: convert_tm_tensor_to_linalg.mlir:
func.func @out_of_range(%x: tensor<3xf32>) -> tensor<3xf32> {
  %at = arith.constant dense<[[1], [3]]> : tensor<2x1xi64>
  %new = arith.constant dense<1.0> : tensor<2xf32>
  %0 = tm_tensor.scatter {dimension_map = array<i64: 0>} unique_indices(false) ins(%new, %at : tensor<2xf32>, tensor<2x1xi64>) outs(%x : tensor<3xf32>) {
  ^bb0(%a: f32, %b: f32):
    tm_tensor.yield %a : f32
  } -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// CHECK-LABEL: func.func @attention
// CHECK: math.exp

// TEXT: tm_tensor.attention ins(
func.func @attention(%q: tensor<1x4x8xf32>, %k: tensor<1x6x8xf32>, %m: tensor<1x4x6xf32>, %o: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
  %0 = tm_tensor.attention ins(%q, %k, %k, %m : tensor<1x4x8xf32>, tensor<1x6x8xf32>, tensor<1x6x8xf32>, tensor<1x4x6xf32>) outs(%o : tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  return %0 : tensor<1x4x8xf32>
}

// A region that orders wholly: a merge sort of places, and the passes of a bubble sort for rows with a NaN.
// CHECK-LABEL: func.func @sort
// CHECK: arith.cmpf ord
// CHECK: math.ctlz
// CHECK: arith.shli
// CHECK: arith.cmpf ole
// CHECK: arith.subi
// SORT: [1. 2. 2. 5.]
// SORT: [3 0 2 1]
func.func @sort() -> (tensor<4xf32>, tensor<4xi64>) {
  %x = arith.constant dense<[2.0, 5.0, 2.0, 1.0]> : tensor<4xf32>
  %i = arith.constant dense<[0, 1, 2, 3]> : tensor<4xi64>
  %0:2 = tm_tensor.sort dimension(0) outs(%x, %i : tensor<4xf32>, tensor<4xi64>) {
  ^bb0(%a: f32, %b: f32, %c: i64, %d: i64):
    %1 = arith.cmpf ole, %a, %b : f32
    tm_tensor.yield %1 : i1
  } -> tensor<4xf32>, tensor<4xi64>
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xi64>
}

// A strict order swaps equal elements at every pass: only the passes give what it means.
// CHECK-LABEL: func.func @strict
// CHECK-NOT: math.ctlz
// CHECK: arith.cmpf olt
func.func @strict(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = tm_tensor.sort dimension(0) outs(%x : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %1 = arith.cmpf olt, %a, %b : f32
    tm_tensor.yield %1 : i1
  } -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
