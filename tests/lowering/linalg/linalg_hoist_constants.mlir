// RUN: mlc-opt -p linalg-hoist-constants %s | filecheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>

// The scaled weight moves out, once for two equal computations; a view of a weight and a big broadcast stay.
// CHECK-LABEL: func.func @forward
// CHECK-NOT: arith.mulf
// CHECK: %[[F:.*]] = arith.constant dense_resource<const.layer.weight.folded> : tensor<8x8xf32>
// CHECK: linalg.matmul ins(%x, %[[F]]
// CHECK: tensor.expand_shape
// CHECK: return
// CHECK: func.func private @const.layer.weight.folded() -> tensor<8x8xf32> attributes {constant} {
// CHECK: arith.constant dense_resource<layer.weight>
// CHECK: arith.constant dense_resource<bn.scale>
// CHECK: arith.mulf
// CHECK-NOT: func.func
func.func @forward(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>, tensor<2x4x8xf32>) {
  %w = arith.constant dense_resource<layer.weight> : tensor<8x8xf32>
  %g = arith.constant dense_resource<bn.scale> : tensor<8xf32>
  %e = tensor.empty() : tensor<8x8xf32>
  %f0 = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%w, %g : tensor<8x8xf32>, tensor<8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<8x8xf32>
  %f1 = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%w, %g : tensor<8x8xf32>, tensor<8xf32>) outs(%e : tensor<8x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<8x8xf32>
  %eo = tensor.empty() : tensor<4x8xf32>
  %0 = linalg.matmul ins(%x, %f0 : tensor<4x8xf32>, tensor<8x8xf32>) outs(%eo : tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = linalg.matmul ins(%x, %f1 : tensor<4x8xf32>, tensor<8x8xf32>) outs(%eo : tensor<4x8xf32>) -> tensor<4x8xf32>
  %v = tensor.expand_shape %w [[0, 1], [2]] output_shape [2, 4, 8] : tensor<8x8xf32> into tensor<2x4x8xf32>
  return %0, %1, %v : tensor<4x8xf32>, tensor<4x8xf32>, tensor<2x4x8xf32>
}
