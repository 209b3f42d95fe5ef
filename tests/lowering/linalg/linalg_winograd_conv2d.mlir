// RUN: mlc-opt --target=x86-64-avx512-bf16 --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-winograd-conv2d)' %s | filecheck %s
// RUN: mlc-opt --target=x86-64-avx512-bf16 --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-winograd-conv2d{tile=2})' %s | filecheck %s --check-prefix=TWO
// RUN: mlc-opt --target=x86-64-avx512-bf16 --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-winograd-conv2d{tile=0})' %s | filecheck %s --check-prefix=NONE
// RUN: mlc-opt --target=x86-64-avx512-bf16 --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-winograd-conv2d{tile=4 group=1})' %s | filecheck %s --check-prefix=GROUP

// NONE-NOT: winograd

// 14x14 outputs in 4x4 tiles of 4x4, two rows of them at a time. Filters are transformed, 64 channels to a piece.
// CHECK-LABEL: func.func @image
// CHECK: %[[W:.*]] = linalg.pack %w
// CHECK: %[[U:.*]] = "linalg_ext.winograd_filter_transform"(%[[W]]) {tile = array<i64: 4, 4>, depth = 64 : i64} : (tensor<2x8x3x3x16x16xf32>) -> tensor<2x36x2x64x16xf32>
// CHECK-NOT: linalg.generic
// CHECK: "linalg_ext.winograd_conv_2d"(%{{.*}}, %[[W]], %{{.*}}, %{{.*}}, %{{.*}}, %[[U]]) {tile = array<i64: 4, 4>, block = array<i64: 1, 2, 4>, transformed}
// CHECK-SAME: -> (tensor<1x2x14x14x16xf32>, tensor<2x36x1x2x4x4x16xf32>, tensor<36x2x1x2x4x16xf32>)

// At run time: 16 channels of one block of filters in two rows of positions.
// GROUP-LABEL: func.func @image
// GROUP-NOT: winograd_filter_transform
// GROUP: "linalg_ext.winograd_conv_2d"({{.*}}) {tile = array<i64: 4, 4>, block = array<i64: 1, 4, 4>}
// GROUP-SAME: -> (tensor<1x2x14x14x16xf32>, tensor<8x36x1x4x4x1x16xf32>, tensor<36x1x1x4x4x16xf32>, tensor<1x12x1x17x16xf32>)
// TWO-LABEL: func.func @image
// TWO: "linalg_ext.winograd_conv_2d"({{.*}}) {tile = array<i64: 2, 2>, block = array<i64: 1, 1, 7>, transformed}
func.func @image(%x: tensor<1x128x14x14xf32>) -> tensor<1x32x14x14xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x128x3x3xf32>
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x128x14x14xf32> to tensor<1x128x16x16xf32>
  %e = tensor.empty() : tensor<1x32x14x14xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%p, %w : tensor<1x128x16x16xf32>, tensor<32x128x3x3xf32>) outs(%f : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  func.return %c : tensor<1x32x14x14xf32>
}

// Filters that are an argument, a stride, a window of 1x1 stay direct.
// CHECK-LABEL: func.func @filters_from_outside
// CHECK-NOT: winograd
func.func @filters_from_outside(%x: tensor<1x32x16x16xf32>, %w: tensor<32x32x3x3xf32>) -> tensor<1x32x14x14xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x14x14xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x32x16x16xf32>, tensor<32x32x3x3xf32>) outs(%f : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  func.return %c : tensor<1x32x14x14xf32>
}

// CHECK-LABEL: func.func @stride
// CHECK-NOT: winograd
func.func @stride(%x: tensor<1x32x29x29xf32>) -> tensor<1x32x14x14xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32x3x3xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x14x14xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>} ins(%x, %w : tensor<1x32x29x29xf32>, tensor<32x32x3x3xf32>) outs(%f : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  func.return %c : tensor<1x32x14x14xf32>
}

// CHECK-LABEL: func.func @window
// CHECK-NOT: winograd
func.func @window(%x: tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32x1x1xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x14x14xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x32x14x14xf32>, tensor<32x32x1x1xf32>) outs(%f : tensor<1x32x14x14xf32>) -> tensor<1x32x14x14xf32>
  func.return %c : tensor<1x32x14x14xf32>
}

// Neither is an output smaller than the smallest tile.
// CHECK-LABEL: func.func @one_row
// CHECK-NOT: winograd
// TWO-LABEL: func.func @one_row
// TWO-NOT: winograd
func.func @one_row(%x: tensor<1x32x3x9xf32>) -> tensor<1x32x1x7xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32x3x3xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x1x7xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x1x7xf32>) -> tensor<1x32x1x7xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x32x3x9xf32>, tensor<32x32x3x3xf32>) outs(%f : tensor<1x32x1x7xf32>) -> tensor<1x32x1x7xf32>
  func.return %c : tensor<1x32x1x7xf32>
}
