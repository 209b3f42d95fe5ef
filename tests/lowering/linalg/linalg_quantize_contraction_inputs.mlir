// RUN: mlc-opt --linalg-quantize-contraction-inputs %s | filecheck %s
// RUN: mlc-opt --linalg-quantize-contraction-inputs --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: [linalg-quantize-contraction-inputs] applied: linalg.matmul: quantised to 8 bits: rows as they come, columns once
// REMARK-DAG: [linalg-quantize-contraction-inputs] missed: linalg.matmul: not quantised (the right-hand side is computed at run time)
// REMARK-DAG: [linalg-quantize-contraction-inputs] missed: linalg.matmul: not quantised (66312 products in a sum, i32 holds 66311)

// Rows of the input are scaled by their largest, columns of the weight (rows of what it is the transpose of) by theirs.
// CHECK-LABEL: func.func @linear
// CHECK: iterator_types = ["parallel", "reduction"]} ins(%x : tensor<4x24xf32>) outs({{.*}} : tensor<4xf32>)
// CHECK: arith.maximumf
// CHECK: arith.constant 1.270000e+02 : f32
// CHECK: arith.divf
// CHECK: math.roundeven
// CHECK: iterator_types = ["parallel", "reduction"]} ins(%w : tensor<32x24xf32>) outs({{.*}} : tensor<32xf32>)
// CHECK: math.roundeven
// CHECK: linalg.transpose
// CHECK: linalg.matmul ins({{.*}} : tensor<4x24xf32>, tensor<24x32xf32>)
// CHECK: ins({{.*}} : tensor<4x32xf32>, tensor<4xf32>, tensor<32xf32>)
// CHECK: func.return
func.func @linear(%x: tensor<4x24xf32>) -> tensor<4x32xf32> {
  %w = arith.constant dense<0.3> : tensor<32x24xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x32xf32>
  %t = linalg.transpose ins(%w : tensor<32x24xf32>) outs(%te : tensor<24x32xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %t : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  func.return %m : tensor<4x32xf32>
}

// CHECK-LABEL: func.func @added_to
// CHECK: iterator_types = ["reduction", "parallel"]} ins({{.*}} : tensor<24x16xf32>) outs({{.*}} : tensor<16xf32>)
// CHECK: ins({{.*}}, %init : tensor<4x16xf32>, tensor<4xf32>, tensor<16xf32>, tensor<4x16xf32>)
func.func @added_to(%x: tensor<4x24xf32>, %init: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %w = arith.constant dense<0.3> : tensor<24x16xf32>
  %m = linalg.matmul ins(%x, %w : tensor<4x24xf32>, tensor<24x16xf32>) outs(%init : tensor<4x16xf32>) -> tensor<4x16xf32>
  func.return %m : tensor<4x16xf32>
}

// CHECK-LABEL: func.func @kept
// CHECK-NOT: roundeven
// CHECK: func.return
func.func @kept(%x: tensor<4x24xf32>, %y: tensor<24x32xf32>, %z: tensor<1x66312xf32>) -> (tensor<4x32xf32>, tensor<1x16xf32>) {
  %long = arith.constant dense<0.3> : tensor<66312x16xf32>
  %e = tensor.empty() : tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %y : tensor<4x24xf32>, tensor<24x32xf32>) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %e2 = tensor.empty() : tensor<1x16xf32>
  %m2 = linalg.matmul ins(%z, %long : tensor<1x66312xf32>, tensor<66312x16xf32>) outs(%e2 : tensor<1x16xf32>) -> tensor<1x16xf32>
  func.return %m, %m2 : tensor<4x32xf32>, tensor<1x16xf32>
}
