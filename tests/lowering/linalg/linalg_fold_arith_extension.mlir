// RUN: mlc-opt --target=x86-64-avx512-bf16 --linalg-fold-arith-extension %s | filecheck %s
// RUN: mlc-opt --target=x86-64-avx2 --linalg-fold-arith-extension %s | filecheck %s --check-prefix=WEIGHTS
// RUN: mlc-opt --target=x86-64-avx512-bf16 --linalg-fold-arith-extension --linalg-pack-matmul %s | filecheck %s --check-prefix=PAIRS
// RUN: mlc-opt --target=x86-64-avx512-bf16 --linalg-fold-arith-extension --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: mlc-opt --pass-pipeline='builtin.module(linalg-block-layouts{block=16},linalg-fold-arith-extension{pairs=true winograd=false})' %s | filecheck %s --check-prefix=BLOCKED

// REMARK-DAG: [linalg-fold-arith-extension] applied: linalg.matmul: both operands in bf16, sums in f32
// REMARK-DAG: [linalg-fold-arith-extension] applied: linalg.batch_matmul: both operands in bf16, sums in f32
// REMARK-DAG: [linalg-fold-arith-extension] missed: linalg.matmul: reads extended operands (8 columns, a vector has 16)
// REMARK-DAG: [linalg-fold-arith-extension] missed: linalg.matmul: reads extended operands (rows of f32, from 16 on)
// REMARK-DAG: [linalg-fold-arith-extension] missed: linalg.matmul: reads extended operands (4 rows, panels are made for 16)

#id = affine_map<(d0, d1) -> (d0, d1)>
#id3 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#id4 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>

// A linear layer: the transpose is of the weights as they are stored.
// CHECK-LABEL: func.func @linear
// CHECK-NOT: arith.extf
// CHECK: linalg.transpose ins({{.*}}tensor<32x24xbf16>)
// CHECK: linalg.matmul ins(%x, {{.*}} : tensor<4x24xbf16>, tensor<24x32xbf16>) outs({{.*}} : tensor<4x32xf32>)
// WEIGHTS-LABEL: func.func @linear
// WEIGHTS: arith.extf
// WEIGHTS: linalg.matmul ins({{.*}} : tensor<4x24xf32>, tensor<24x32xbf16>) outs({{.*}} : tensor<4x32xf32>)
// PAIRS-LABEL: func.func @linear
// PAIRS: linalg.pack {{.*}} inner_dims_pos = [0, 1] inner_tiles = [16, 2] into {{.*}} : tensor<32x24xbf16> -> tensor<2x12x16x2xbf16>
func.func @linear(%x: tensor<4x24xbf16>) -> tensor<4x32xf32> {
  %w = arith.constant dense<0.5> : tensor<32x24xbf16>
  %zero = arith.constant 0.0 : f32
  %xe = tensor.empty() : tensor<4x24xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x24xbf16>) outs(%xe : tensor<4x24xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<4x24xf32>
  %we = tensor.empty() : tensor<32x24xf32>
  %b = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%w : tensor<32x24xbf16>) outs(%we : tensor<32x24xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<32x24xf32>
  %te = tensor.empty() : tensor<24x32xf32>
  %t = linalg.transpose ins(%b : tensor<32x24xf32>) outs(%te : tensor<24x32xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%a, %t : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  func.return %m : tensor<4x32xf32>
}

// Batches of computed matrices: panels are made at run time, where the machine multiplies pairs.
// CHECK-LABEL: func.func @computed
// CHECK: linalg.batch_matmul ins(%x, %y : tensor<3x16x8xbf16>, tensor<3x8x32xbf16>) outs({{.*}} : tensor<3x16x32xf32>)
// WEIGHTS-LABEL: func.func @computed
// WEIGHTS: linalg.batch_matmul ins({{.*}} : tensor<3x16x8xf32>, tensor<3x8x32xf32>)
// PAIRS-LABEL: func.func @computed
// PAIRS: linalg.pack %y outer_dims_perm = [0, 2, 1] inner_dims_pos = [2, 1] inner_tiles = [16, 2] into {{.*}} : tensor<3x8x32xbf16> -> tensor<3x2x4x16x2xbf16>
// PAIRS: iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]
func.func @computed(%x: tensor<3x16x8xbf16>, %y: tensor<3x8x32xbf16>, %z: tensor<3x16x32xf32>) -> tensor<3x16x32xf32> {
  %xe = tensor.empty() : tensor<3x16x8xf32>
  %a = linalg.generic {indexing_maps = [#id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : tensor<3x16x8xbf16>) outs(%xe : tensor<3x16x8xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<3x16x8xf32>
  %ye = tensor.empty() : tensor<3x8x32xf32>
  %b = linalg.generic {indexing_maps = [#id3, #id3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%y : tensor<3x8x32xbf16>) outs(%ye : tensor<3x8x32xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<3x8x32xf32>
  %m = linalg.batch_matmul ins(%a, %b : tensor<3x16x8xf32>, tensor<3x8x32xf32>) outs(%z : tensor<3x16x32xf32>) -> tensor<3x16x32xf32>
  func.return %m : tensor<3x16x32xf32>
}

// Few columns, few rows of a computed matrix, many rows of f32 that nobody rounded: as they are.
// CHECK-LABEL: func.func @kept
// CHECK: linalg.matmul ins({{.*}} : tensor<4x24xf32>, tensor<24x8xf32>)
// CHECK: linalg.matmul ins({{.*}} : tensor<4x24xf32>, tensor<24x32xf32>)
// CHECK: linalg.matmul ins({{.*}} : tensor<16x24xf32>, tensor<24x32xf32>)
func.func @kept(%x: tensor<4x24xbf16>, %y: tensor<24x32xbf16>, %r: tensor<16x24xf32>) -> (tensor<4x8xf32>, tensor<4x32xf32>, tensor<16x32xf32>) {
  %few = arith.constant dense<0.5> : tensor<24x8xbf16>
  %w = arith.constant dense<0.5> : tensor<24x32xbf16>
  %xe = tensor.empty() : tensor<4x24xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x24xbf16>) outs(%xe : tensor<4x24xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<4x24xf32>
  %fe = tensor.empty() : tensor<24x8xf32>
  %b = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%few : tensor<24x8xbf16>) outs(%fe : tensor<24x8xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<24x8xf32>
  %ye = tensor.empty() : tensor<24x32xf32>
  %c = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<24x32xbf16>) outs(%ye : tensor<24x32xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<24x32xf32>
  %we = tensor.empty() : tensor<24x32xf32>
  %d = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%w : tensor<24x32xbf16>) outs(%we : tensor<24x32xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<24x32xf32>
  %e8 = tensor.empty() : tensor<4x8xf32>
  %m8 = linalg.matmul ins(%a, %b : tensor<4x24xf32>, tensor<24x8xf32>) outs(%e8 : tensor<4x8xf32>) -> tensor<4x8xf32>
  %e32 = tensor.empty() : tensor<4x32xf32>
  %m32 = linalg.matmul ins(%a, %c : tensor<4x24xf32>, tensor<24x32xf32>) outs(%e32 : tensor<4x32xf32>) -> tensor<4x32xf32>
  %er = tensor.empty() : tensor<16x32xf32>
  %mr = linalg.matmul ins(%r, %d : tensor<16x24xf32>, tensor<24x32xf32>) outs(%er : tensor<16x32xf32>) -> tensor<16x32xf32>
  func.return %m8, %m32, %mr : tensor<4x8xf32>, tensor<4x32xf32>, tensor<16x32xf32>
}

// A convolution reads pairs of channels, of the padded image as it is; half of a concatenation is not enough.
// BLOCKED-LABEL: func.func @convolution
// BLOCKED: tensor.pad {{.*}} low[0, 0, 1, 1, 0]
// BLOCKED: tensor<1x1x5x5x16xbf16> to tensor<1x1x7x7x16xbf16>
// BLOCKED: linalg.generic {{.*}} ins({{.*}} : tensor<1x1x7x7x16xbf16>, tensor<1x1x3x3x8x16x2xbf16>) outs({{.*}} : tensor<1x1x5x5x16xf32>)
// BLOCKED-LABEL: func.func @half
// BLOCKED: linalg.generic {{.*}} ins({{.*}} : tensor<1x2x5x5x16xf32>, tensor<1x2x1x1x16x16xf32>)
func.func @convolution(%x: tensor<1x16x5x5xbf16>) -> tensor<1x16x5x5xf32> {
  %w = arith.constant dense_resource<w> : tensor<16x16x3x3xbf16>
  %zero = arith.constant 0.0 : f32
  %xe = tensor.empty() : tensor<1x16x5x5xf32>
  %a = linalg.generic {indexing_maps = [#id4, #id4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x : tensor<1x16x5x5xbf16>) outs(%xe : tensor<1x16x5x5xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<1x16x5x5xf32>
  %we = tensor.empty() : tensor<16x16x3x3xf32>
  %b = linalg.generic {indexing_maps = [#id4, #id4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%w : tensor<16x16x3x3xbf16>) outs(%we : tensor<16x16x3x3xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<16x16x3x3xf32>
  %padded = tensor.pad %a low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x16x5x5xf32> to tensor<1x16x7x7xf32>
  %e = tensor.empty() : tensor<1x16x5x5xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x16x5x5xf32>) -> tensor<1x16x5x5xf32>
  %y = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%padded, %b : tensor<1x16x7x7xf32>, tensor<16x16x3x3xf32>) outs(%f : tensor<1x16x5x5xf32>) -> tensor<1x16x5x5xf32>
  func.return %y : tensor<1x16x5x5xf32>
}

func.func @half(%x: tensor<1x16x5x5xbf16>, %wide: tensor<1x16x5x5xf32>) -> tensor<1x16x5x5xf32> {
  %w = arith.constant dense_resource<v> : tensor<16x32x1x1xbf16>
  %zero = arith.constant 0.0 : f32
  %xe = tensor.empty() : tensor<1x16x5x5xf32>
  %a = linalg.generic {indexing_maps = [#id4, #id4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x : tensor<1x16x5x5xbf16>) outs(%xe : tensor<1x16x5x5xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<1x16x5x5xf32>
  %we = tensor.empty() : tensor<16x32x1x1xf32>
  %b = linalg.generic {indexing_maps = [#id4, #id4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%w : tensor<16x32x1x1xbf16>) outs(%we : tensor<16x32x1x1xf32>) {
  ^bb0(%p: bf16, %o: f32):
    %q = arith.extf %p : bf16 to f32
    linalg.yield %q : f32
  } -> tensor<16x32x1x1xf32>
  %both = tensor.concat dim(1) %a, %wide : (tensor<1x16x5x5xf32>, tensor<1x16x5x5xf32>) -> tensor<1x32x5x5xf32>
  %e = tensor.empty() : tensor<1x16x5x5xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x16x5x5xf32>) -> tensor<1x16x5x5xf32>
  %y = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%both, %b : tensor<1x32x5x5xf32>, tensor<16x32x1x1xf32>) outs(%f : tensor<1x16x5x5xf32>) -> tensor<1x16x5x5xf32>
  func.return %y : tensor<1x16x5x5xf32>
}
