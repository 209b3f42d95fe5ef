// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-demote-convolution-inputs{pairs=true})' %s | filecheck %s
// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-demote-convolution-inputs{pairs=true winograd=false})' %s | filecheck %s --check-prefix=ALL
// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-demote-convolution-inputs{pairs=false})' --remarks %s 2>&1 | filecheck %s --check-prefix=NONE

// NONE: [linalg-demote-convolution-inputs] missed: linalg.generic: operands not rounded (the machine does not multiply pairs of bf16)
// NONE-NOT: truncf

// The filters lie in pairs of channels; the input is rounded once, and the sum of the block reads the rounded one.
// CHECK-LABEL: func.func @block
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: tensor<1x2x5x4x16xbf16>
// CHECK: arith.extf {{.*}} : bf16 to f32
// CHECK: %[[P:.*]] = linalg.pack %w
// CHECK: tensor.expand_shape %[[P]] {{.*}} : tensor<2x2x1x1x16x16xf32> into tensor<2x2x1x1x8x2x16xf32>
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: tensor<2x2x1x1x8x16x2xbf16>
// CHECK: linalg.generic {{.*}}((d8 * 2) + d9){{.*}} ins({{.*}} : tensor<1x2x5x4x16xbf16>, tensor<2x2x1x1x8x16x2xbf16>) outs({{.*}} : tensor<1x2x5x4x16xf32>)
// CHECK: arith.addf
func.func @block(%x: tensor<1x32x5x4xf32>) -> tensor<1x32x5x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32x1x1xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x5x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x5x4xf32>) -> tensor<1x32x5x4xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x32x5x4xf32>, tensor<32x32x1x1xf32>) outs(%f : tensor<1x32x5x4xf32>) -> tensor<1x32x5x4xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%c, %x : tensor<1x32x5x4xf32>, tensor<1x32x5x4xf32>) outs(%e : tensor<1x32x5x4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x32x5x4xf32>
  func.return %r : tensor<1x32x5x4xf32>
}

// What is padded is rounded before. Winograd's tiles take less time, so only `winograd=false` rounds.
// CHECK-LABEL: func.func @padded
// CHECK-NOT: bf16
// ALL-LABEL: func.func @padded
// ALL: arith.truncf {{.*}} : f32 to bf16
// ALL: tensor.pad {{.*}} low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0]
// ALL: tensor<1x2x16x16x16xbf16> to tensor<1x2x18x18x16xbf16>
func.func @padded(%x: tensor<1x32x16x16xf32>) -> tensor<1x32x16x16xf32> {
  %w = arith.constant dense_resource<v> : tensor<32x32x3x3xf32>
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x32x16x16xf32> to tensor<1x32x18x18xf32>
  %e = tensor.empty() : tensor<1x32x16x16xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x16x16xf32>) -> tensor<1x32x16x16xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%p, %w : tensor<1x32x18x18xf32>, tensor<32x32x3x3xf32>) outs(%f : tensor<1x32x16x16xf32>) -> tensor<1x32x16x16xf32>
  func.return %c : tensor<1x32x16x16xf32>
}

// Filters that are an argument stay as they are.
// CHECK-LABEL: func.func @computed
// CHECK-NOT: bf16
func.func @computed(%x: tensor<1x32x5x4xf32>, %w: tensor<32x32x1x1xf32>) -> tensor<1x32x5x4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x32x5x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32x5x4xf32>) -> tensor<1x32x5x4xf32>
  %c = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x32x5x4xf32>, tensor<32x32x1x1xf32>) outs(%f : tensor<1x32x5x4xf32>) -> tensor<1x32x5x4xf32>
  func.return %c : tensor<1x32x5x4xf32>
}
