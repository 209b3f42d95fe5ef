// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-winograd-pointwise{gain=1000})' %s | filecheck %s
// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-winograd-pointwise{gain=90})' %s | filecheck %s --check-prefix=NINETY
// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-winograd-pointwise{gain=0})' %s | filecheck %s --check-prefix=NONE

// NONE-NOT: winograd

// 512 channels in two pieces; filters are panels of one block each.
// CHECK-LABEL: func.func @image
// CHECK: %[[F:.*]] = linalg.pack %w
// CHECK: %[[P:.*]] = tensor.collapse_shape %[[F]] {{\[\[}}0 : i64], [1 : i64, 2 : i64, 3 : i64, 4 : i64], [5 : i64]] : tensor<8x32x1x1x16x16xf32> into tensor<8x512x16xf32>
// CHECK: %[[W:.*]] = "linalg_ext.winograd_matmul_weights"(%[[P]]) {depth = 256 : i64} : (tensor<8x512x16xf32>) -> tensor<8x520x16xf32>
// CHECK: %[[Z:.*]] = linalg.fill
// CHECK-NOT: linalg.generic
// CHECK: "linalg_ext.winograd_matmul"(%{{.*}}, %[[W]], %[[Z]], %{{.*}}, %{{.*}}) {depth = 256 : i64}
// CHECK-SAME: -> (tensor<1x8x14x14x16xf32>, tensor<1x14x14x2x304xf32>, tensor<7x1x14x14xf32>)
// NINETY-LABEL: func.func @image
// NINETY: linalg_ext.winograd_matmul
func.func @image(%x: tensor<1x512x14x14xf32>) -> tensor<1x128x14x14xf32> {
  %w = arith.constant dense_resource<w> : tensor<128x512x1x1xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x128x14x14xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x128x14x14xf32>) -> tensor<1x128x14x14xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x512x14x14xf32>, tensor<128x512x1x1xf32>) outs(%f : tensor<1x128x14x14xf32>) -> tensor<1x128x14x14xf32>
  func.return %c : tensor<1x128x14x14xf32>
}

// Every second pixel. 32 filters do not pay for preparing 64 channels.
// CHECK-LABEL: func.func @strided
// CHECK: %[[X:.*]] = tensor.extract_slice %{{.*}}[0, 0, 0, 0, 0] [1, 4, 5, 4, 16] [1, 1, 2, 2, 1] : tensor<1x4x9x8x16xf32> to tensor<1x4x5x4x16xf32>
// CHECK: "linalg_ext.winograd_matmul"(%[[X]],
// NINETY-LABEL: func.func @strided
// NINETY-NOT: winograd
func.func @strided(%x: tensor<1x64x9x8xf32>) -> tensor<1x32x5x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x64x1x1xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x5x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x5x4xf32>) -> tensor<1x32x5x4xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>} ins(%x, %w : tensor<1x64x9x8xf32>, tensor<32x64x1x1xf32>) outs(%f : tensor<1x32x5x4xf32>) -> tensor<1x32x5x4xf32>
  func.return %c : tensor<1x32x5x4xf32>
}

// Filters that are an argument, a window of 3x3 stay direct.
// CHECK-LABEL: func.func @filters_from_outside
// CHECK-NOT: winograd
func.func @filters_from_outside(%x: tensor<1x32x8x8xf32>, %w: tensor<32x32x1x1xf32>) -> tensor<1x32x8x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x8x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x32x8x8xf32>, tensor<32x32x1x1xf32>) outs(%f : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  func.return %c : tensor<1x32x8x8xf32>
}

// CHECK-LABEL: func.func @window
// CHECK-NOT: winograd
func.func @window(%x: tensor<1x32x10x10xf32>) -> tensor<1x32x8x8xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32x3x3xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x8x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x32x10x10xf32>, tensor<32x32x3x3xf32>) outs(%f : tensor<1x32x8x8xf32>) -> tensor<1x32x8x8xf32>
  func.return %c : tensor<1x32x8x8xf32>
}
