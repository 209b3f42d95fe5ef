// RUN: mlc-opt --target=x86-64-avx512-bf16 --linalg-demote-contraction-inputs %s | filecheck %s
// RUN: mlc-opt --target=x86-64-avx512-bf16 --linalg-demote-contraction-inputs='weights-only=true' %s | filecheck %s --check-prefix=WEIGHTS
// RUN: mlc-opt --target=x86-64-avx512-bf16 --linalg-demote-contraction-inputs --linalg-pack-matmul='block=16 interleave=true' %s | filecheck %s --check-prefix=PAIRS
// RUN: mlc-opt --target=x86-64-avx512-bf16 --linalg-demote-contraction-inputs --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: [linalg-demote-contraction-inputs] applied: linalg.matmul: both operands in bf16, sums in f32
// REMARK-DAG: [linalg-demote-contraction-inputs] missed: linalg.matmul: operands not rounded (the right-hand side is computed at run time)
// REMARK-DAG: [linalg-demote-contraction-inputs] missed: linalg.matmul: operands not rounded (elements are not f32)
// REMARK-DAG: [linalg-demote-contraction-inputs] missed: linalg.matmul: operands not rounded (8 columns, a vector has 16)

// The input is rounded once for both products; the weight's source is, so that packing knows the transpose.
// CHECK-LABEL: func.func @two_products
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: linalg.transpose ins({{.*}}tensor<32x24xbf16>)
// CHECK: linalg.matmul ins({{.*}} : tensor<4x24xbf16>, tensor<24x32xbf16>) outs({{.*}} : tensor<4x32xf32>)
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK-NOT: arith.truncf
// CHECK: linalg.matmul ins({{.*}} : tensor<4x24xbf16>, tensor<24x16xbf16>) outs({{.*}} : tensor<4x16xf32>)
// WEIGHTS-LABEL: func.func @two_products
// WEIGHTS: linalg.matmul ins(%x, {{.*}} : tensor<4x24xf32>, tensor<24x32xbf16>) outs({{.*}} : tensor<4x32xf32>)
// PAIRS-LABEL: func.func @two_products
// PAIRS: linalg.pack {{.*}} inner_dims_pos = [0, 1] inner_tiles = [16, 2] into {{.*}} : tensor<32x24xbf16> -> tensor<2x12x16x2xbf16>
// PAIRS: tensor.expand_shape {{.*}} : tensor<4x24xbf16> into tensor<4x12x2xbf16>
// PAIRS: iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]
// PAIRS: linalg.pack {{.*}} outer_dims_perm = [1, 0] inner_dims_pos = [1, 0] inner_tiles = [16, 2] into {{.*}} : tensor<24x16xbf16> -> tensor<1x12x16x2xbf16>
func.func @two_products(%x: tensor<4x24xf32>) -> (tensor<4x32xf32>, tensor<4x16xf32>) {
  %w = arith.constant dense<0.3> : tensor<32x24xf32>
  %v = arith.constant dense<0.7> : tensor<24x16xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x32xf32>
  %t = linalg.transpose ins(%w : tensor<32x24xf32>) outs(%te : tensor<24x32xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %t : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  %e2 = tensor.empty() : tensor<4x16xf32>
  %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<4x16xf32>) -> tensor<4x16xf32>
  %m2 = linalg.matmul ins(%x, %v : tensor<4x24xf32>, tensor<24x16xf32>) outs(%f2 : tensor<4x16xf32>) -> tensor<4x16xf32>
  func.return %m, %m2 : tensor<4x32xf32>, tensor<4x16xf32>
}

// CHECK-LABEL: func.func @kept
// CHECK-NOT: bf16
// CHECK: func.return
func.func @kept(%x: tensor<4x24xf32>, %y: tensor<24x32xf32>, %z: tensor<4x24xf64>) -> (tensor<4x32xf32>, tensor<4x8xf32>, tensor<4x32xf64>) {
  %few = arith.constant dense<0.3> : tensor<24x8xf32>
  %wide = arith.constant dense<0.3> : tensor<24x32xf64>
  %e = tensor.empty() : tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %y : tensor<4x24xf32>, tensor<24x32xf32>) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %e8 = tensor.empty() : tensor<4x8xf32>
  %m8 = linalg.matmul ins(%x, %few : tensor<4x24xf32>, tensor<24x8xf32>) outs(%e8 : tensor<4x8xf32>) -> tensor<4x8xf32>
  %e64 = tensor.empty() : tensor<4x32xf64>
  %m64 = linalg.matmul ins(%z, %wide : tensor<4x24xf64>, tensor<24x32xf64>) outs(%e64 : tensor<4x32xf64>) -> tensor<4x32xf64>
  func.return %m, %m8, %m64 : tensor<4x32xf32>, tensor<4x8xf32>, tensor<4x32xf64>
}
