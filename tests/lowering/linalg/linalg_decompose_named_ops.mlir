// RUN: mlc-opt -p linalg-decompose-named-ops %s | filecheck %s

// CHECK-LABEL: func.func @softmax
// CHECK: linalg.fill
// CHECK: linalg.generic
// CHECK: arith.maximumf {{.*}} fastmath<nsz>
// CHECK: arith.subf
// CHECK: math.exp
// CHECK: linalg.fill
// CHECK: arith.addf
// CHECK: arith.divf
// CHECK: arith.mulf
// CHECK-NOT: linalg.softmax
func.func @softmax(%x: tensor<?x8xf32>, %o: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = linalg.softmax dimension(1) ins(%x : tensor<?x8xf32>) outs(%o : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @packs
// CHECK: tensor.pad %x
// CHECK: tensor.expand_shape
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2, d3) -> (d0, d1, d3, d2)>
// CHECK: linalg.generic
// CHECK: tensor.collapse_shape
// CHECK: tensor.extract_slice
func.func @packs(%x: tensor<2x20x4xf32>) -> tensor<2x20x4xf32> {
  %z = arith.constant 0.0 : f32
  %d = tensor.empty() : tensor<2x2x4x16xf32>
  %p = linalg.pack %x padding_value(%z : f32) inner_dims_pos = [1] inner_tiles = [16] into %d : tensor<2x20x4xf32> -> tensor<2x2x4x16xf32>
  %u = linalg.unpack %p inner_dims_pos = [1] inner_tiles = [16] into %x : tensor<2x2x4x16xf32> -> tensor<2x20x4xf32>
  return %u : tensor<2x20x4xf32>
}
