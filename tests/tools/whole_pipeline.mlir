// The whole pipeline of the CPU on a file whose entry point has another name and whose weights get packed: the functions
// of derived constants stay as they are at the llvm level (the weight store runs them) and are no part of the code.
// RUN: mlc-opt %s --mlc-pipeline=cpu --entry-point=main | filecheck %s
// RUN: mlc-opt %s --mlc-pipeline=cpu --entry-point=main --emit=llvm | filecheck %s --check-prefix=CODE
// RUN: mlc-opt %s --run --entry-point=main | filecheck %s --check-prefix=VALUE
// RUN: mlc-opt %s --run --native --entry-point=main | filecheck %s --check-prefix=VALUE
// RUN: mlc-opt %s --run --mlc-pipeline=cpu --mlc-to=buffers --entry-point=main | filecheck %s --check-prefix=VALUE
// RUN: not mlc-opt %s --run --native 2>&1 | filecheck %s --check-prefix=NONE

// CHECK: llvm.func @mlc_forward(
// CHECK: func.func private @const.{{.*}} attributes {constant}

// CODE-NOT: const.
// CODE: define i32 @mlc_forward(

// VALUE: %0 = float32[1, 2]
// VALUE-NEXT: {{\[\[}}21. 32.]]

// NONE: the module has no function @forward

func.func @main(%x: tensor<1x2xi64>) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x2xf32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x2xf32>) -> tensor<1x2xf32>
  %float = linalg.generic {
    indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]
  } ins(%x : tensor<1x2xi64>) outs(%empty : tensor<1x2xf32>) {
  ^bb0(%in: i64, %out: f32):
    %f = arith.sitofp %in : i64 to f32
    linalg.yield %f : f32
  } -> tensor<1x2xf32>
  %y = linalg.matmul ins(%float, %w : tensor<1x2xf32>, tensor<2x2xf32>) outs(%start : tensor<1x2xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}
