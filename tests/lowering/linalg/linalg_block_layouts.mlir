// RUN: mlc-opt --linalg-block-layouts='block=16' %s | filecheck %s

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#ch = affine_map<(d0, d1, d2, d3) -> (d1)>

// The first layer reads plain channels; bias, relu and pooling follow in blocks; one unpack at the end.
// CHECK-LABEL: func.func @first_layer
// CHECK-NOT: linalg.unpack
// CHECK: linalg.pack %{{.*}} inner_dims_pos = [0] inner_tiles = [16] into %{{.*}} : tensor<32x3x3x3xf32> -> tensor<2x3x3x3x16xf32>
// CHECK: linalg.generic
// CHECK-SAME: ins(%{{.*}}, %{{.*}} : tensor<1x3x10x10xf32>, tensor<2x3x3x3x16xf32>)
// CHECK-SAME: tensor<1x2x8x8x16xf32>
// CHECK: tensor.expand_shape %{{.*}} : tensor<32xf32> into tensor<2x16xf32>
// CHECK: arith.addf
// CHECK: tensor<1x2x4x4x16xf32>
// CHECK: arith.maximumf
// CHECK: linalg.unpack {{.*}} tensor<1x2x4x4x16xf32> -> tensor<1x32x4x4xf32>
// CHECK-NEXT: func.return
func.func @first_layer(%x: tensor<1x3x10x10xf32>, %w: tensor<32x3x3x3xf32>, %b: tensor<32xf32>) -> tensor<1x32x4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x8x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x3x10x10xf32>, tensor<32x3x3x3xf32>) outs(%f : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  %r = linalg.generic {indexing_maps = [#id, #ch, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%c, %b : tensor<1x32x8x8xf32>, tensor<32xf32>) outs(%e : tensor<1x32x8x8xf32>) {
  ^bb0(%a: f32, %bias: f32, %o: f32):
    %s = arith.addf %a, %bias : f32
    linalg.yield %s : f32
  } -> tensor<1x32x8x8xf32>
  %low = arith.constant 0xFF800000 : f32
  %window = tensor.empty() : tensor<2x2xf32>
  %pe = tensor.empty() : tensor<1x32x4x4xf32>
  %pf = linalg.fill ins(%low : f32) outs(%pe : tensor<1x32x4x4xf32>) -> tensor<1x32x4x4xf32>
  %p = linalg.pooling_nchw_max {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>} ins(%r, %window : tensor<1x32x8x8xf32>, tensor<2x2xf32>) outs(%pf : tensor<1x32x4x4xf32>) -> tensor<1x32x4x4xf32>
  func.return %p : tensor<1x32x4x4xf32>
}

// Two convolutions with padding between them: no unpack, no pack of the activation.
// CHECK-LABEL: func.func @chain
// CHECK: linalg.pack %{{.*}} inner_dims_pos = [1] inner_tiles = [16] into %{{.*}} : tensor<1x16x8x8xf32> -> tensor<1x1x8x8x16xf32>
// CHECK: linalg.pack %{{.*}} inner_dims_pos = [1, 0] inner_tiles = [16, 16] into %{{.*}} : tensor<32x16x1x1xf32> -> tensor<2x1x1x1x16x16xf32>
// CHECK: tensor.pad %{{.*}} low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0]
// CHECK: tensor<1x2x8x8x16xf32> to tensor<1x2x10x10x16xf32>
// CHECK-NOT: tensor<1x32x8x8xf32>
// CHECK: linalg.unpack {{.*}} -> tensor<1x24x8x8xf32>
func.func @chain(%x: tensor<1x16x8x8xf32>, %w: tensor<32x16x1x1xf32>, %w2: tensor<24x32x3x3xf32>) -> tensor<1x24x8x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x8x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x16x8x8xf32>, tensor<32x16x1x1xf32>) outs(%f : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  %p = tensor.pad %c low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x32x8x8xf32> to tensor<1x32x10x10xf32>
  %e2 = tensor.empty() : tensor<1x24x8x8xf32>
  %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<1x24x8x8xf32>) -> tensor<1x24x8x8xf32>
  %c2 = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%p, %w2 : tensor<1x32x10x10xf32>, tensor<24x32x3x3xf32>) outs(%f2 : tensor<1x24x8x8xf32>) -> tensor<1x24x8x8xf32>
  func.return %c2 : tensor<1x24x8x8xf32>
}
