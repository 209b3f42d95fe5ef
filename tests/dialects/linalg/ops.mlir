// RUN: mlc-opt %s | filecheck %s
// CHECK: linalg.batch_matmul ins(%a, %b
// CHECK: linalg.depthwise_conv_2d_nchw_chw
// CHECK: linalg.softmax dimension(2)
// CHECK: linalg.pack %x padding_value(%cst : f32) outer_dims_perm = [0, 1, 2, 3] inner_dims_pos = [1] inner_tiles = [16]
// CHECK: linalg.batch_matmul indexing_maps = [

#map = affine_map<(b,m,n,k)->(b,m,k)>
#map1 = affine_map<(b,m,n,k)->(b,n,k)>
#map2 = affine_map<(b,m,n,k)->(b,m,n)>
#mapm = affine_map<(m,n,k)->(m,k)>
#mapm1 = affine_map<(m,n,k)->(n,k)>
#mapm2 = affine_map<(m,n,k)->(m,n)>
#id = affine_map<(m)->(m)>

func.func @f(%a: tensor<2x3x4xf32>, %b: tensor<2x4x5xf32>, %c: tensor<2x3x5xf32>, %x: tensor<1x16x8x8xf32>, %k: tensor<16x3x3xf32>, %o: tensor<1x16x6x6xf32>) -> tensor<2x3x5xf32> {
  %0 = linalg.batch_matmul ins(%a, %b : tensor<2x3x4xf32>, tensor<2x4x5xf32>) outs(%c : tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %1 = linalg.depthwise_conv_2d_nchw_chw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %k : tensor<1x16x8x8xf32>, tensor<16x3x3xf32>) outs(%o : tensor<1x16x6x6xf32>) -> tensor<1x16x6x6xf32>
  %w = tensor.empty() : tensor<3x3xf32>
  %2 = linalg.pooling_nchw_sum {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x16x8x8xf32>, tensor<3x3xf32>) outs(%o : tensor<1x16x6x6xf32>) -> tensor<1x16x6x6xf32>
  %3 = linalg.softmax dimension(2) ins(%c : tensor<2x3x5xf32>) outs(%c : tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %e = tensor.empty() : tensor<1x1x8x8x16xf32>
  %cst = arith.constant 0.0 : f32
  %4 = linalg.pack %x padding_value(%cst : f32) outer_dims_perm = [0,1,2,3] inner_dims_pos = [1] inner_tiles = [16] into %e : tensor<1x16x8x8xf32> -> tensor<1x1x8x8x16xf32>
  %5 = linalg.unpack %4 inner_dims_pos = [1] inner_tiles = [16] into %x : tensor<1x1x8x8x16xf32> -> tensor<1x16x8x8xf32>
  %6 = linalg.copy ins(%c : tensor<2x3x5xf32>) outs(%0 : tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  %7 = linalg.fill ins(%cst : f32) outs(%0 : tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
  return %0 : tensor<2x3x5xf32>
}

func.func @g(%a: tensor<2x3x4xf32>, %c: tensor<2x3x3xf32>, %x: tensor<1x20x8x8xf32>, %xx: tensor<1x8x8x20xf32>, %k: tensor<3x3x20xf32>, %o: tensor<1x3x3x20xf32>, %m: tensor<3x4xf32>, %mo: tensor<3x3xf32>, %v: tensor<4xf32>) -> tensor<2x3x3xf32> {
  %8 = linalg.batch_matmul indexing_maps = [#map, #map1, #map2] ins(%a, %a : tensor<2x3x4xf32>, tensor<2x3x4xf32>) outs(%c : tensor<2x3x3xf32>) -> tensor<2x3x3xf32>
  %9 = linalg.matmul indexing_maps = [#mapm, #mapm1, #mapm2] ins(%m, %m : tensor<3x4xf32>, tensor<3x4xf32>) outs(%mo : tensor<3x3xf32>) -> tensor<3x3xf32>
  %1 = linalg.depthwise_conv_2d_nhwc_hwc {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>} ins(%xx, %k : tensor<1x8x8x20xf32>, tensor<3x3x20xf32>) outs(%o : tensor<1x3x3x20xf32>) -> tensor<1x3x3x20xf32>
  %w = tensor.empty() : tensor<3x3xf32>
  %2 = linalg.pooling_nhwc_sum {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>} ins(%xx, %w : tensor<1x8x8x20xf32>, tensor<3x3xf32>) outs(%o : tensor<1x3x3x20xf32>) -> tensor<1x3x3x20xf32>
  %oo = tensor.empty() : tensor<1x6x6x20xf32>
  %3 = linalg.pooling_nhwc_max ins(%xx, %w : tensor<1x8x8x20xf32>, tensor<3x3xf32>) outs(%oo : tensor<1x6x6x20xf32>) -> tensor<1x6x6x20xf32>
  %e = tensor.empty() : tensor<1x2x8x8x16xf32>
  %cst = arith.constant 0.0 : f32
  %4 = linalg.pack %x padding_value(%cst : f32) outer_dims_perm = [0,1,2,3] inner_dims_pos = [1] inner_tiles = [16] into %e : tensor<1x20x8x8xf32> -> tensor<1x2x8x8x16xf32>
  %5 = linalg.unpack %4 inner_dims_pos = [1] inner_tiles = [16] into %x : tensor<1x2x8x8x16xf32> -> tensor<1x20x8x8xf32>
  %g:2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]} ins(%v : tensor<4xf32>) outs(%v, %v : tensor<4xf32>, tensor<4xf32>) {
  ^bb0(%p: f32, %q: f32, %r: f32):
     linalg.yield %p, %p : f32, f32
  } -> (tensor<4xf32>, tensor<4xf32>)
  return %8 : tensor<2x3x3xf32>
}
