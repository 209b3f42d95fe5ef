// RUN: mlc-opt --linalg-split-matmul='gain=1000000' %s | filecheck %s
// RUN: mlc-opt --target=x86-64-amx --linalg-split-matmul %s | filecheck %s --check-prefix=CHOSEN
// RUN: mlc-opt --target=x86-64-avx512 --linalg-split-matmul %s | filecheck %s --check-prefix=NONE

#x = affine_map<(m, n1, n0, k) -> (m, k)>
#w = affine_map<(m, n1, n0, k) -> (n1, k, n0)>
#y = affine_map<(m, n1, n0, k) -> (m, n1, n0)>

#xp = affine_map<(n, f1, oh, ow, f0, c1, kh, kw, c0) -> (n, c1, oh + kh, ow + kw, c0)>
#xs = affine_map<(n, f1, oh, ow, f0, c1, kh, kw, c0) -> (n, c1, oh * 2 + kh, ow * 2 + kw, c0)>
#wp = affine_map<(n, f1, oh, ow, f0, c1, kh, kw, c0) -> (f1, c1, kh, kw, c0, f0)>
#yp = affine_map<(n, f1, oh, ow, f0, c1, kh, kw, c0) -> (n, f1, oh, ow, f0)>

// A machine without a matrix unit.
// NONE-NOT: split_matmul

// 48 terms are filled up to 64, five rows to sixteen; the product is added to what was there. Too small to gain.
// CHECK-LABEL: func.func @packed
// CHECK: %[[P:.*]] = linalg.pack %w
// CHECK: %[[W:.*]] = "linalg_ext.split_matmul_weights"(%[[P]]) : (tensor<2x48x16xf32>) -> tensor<2x66x16xf32>
// CHECK: %[[S:.*]] = tensor.empty() : tensor<1x2x3x16x32xbf16>
// CHECK: %[[R:.*]] = tensor.empty() : tensor<5x5xf32>
// CHECK: %[[Q:.*]] = tensor.empty() : tensor<2x2x3x16x32xbf16>
// CHECK: %[[Y:.*]], %{{.*}}, %{{.*}}, %{{.*}} = "linalg_ext.split_matmul"(%x, %[[W]], %y, %[[S]], %[[R]], %[[Q]])
// CHECK-NOT: linalg.generic
// CHECK: func.return %[[Y]]
// CHOSEN-LABEL: func.func @packed
// CHOSEN-NOT: split_matmul
func.func @packed(%x: tensor<5x48xf32>, %y: tensor<5x2x16xf32>) -> tensor<5x2x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x48xf32>
  %e = tensor.empty() : tensor<2x48x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e : tensor<32x48xf32> -> tensor<2x48x16xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x48xf32>, tensor<2x48x16xf32>) outs(%y : tensor<5x2x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x2x16xf32>
  func.return %r : tensor<5x2x16xf32>
}

// CHECK-LABEL: func.func @large
// CHECK: "linalg_ext.split_matmul"
// CHOSEN-LABEL: func.func @large
// CHOSEN: "linalg_ext.split_matmul_weights"(%{{.*}}) : (tensor<48x768x16xf32>) -> tensor<48x770x16xf32>
// CHOSEN: -> (tensor<128x48x16xf32>, tensor<8x24x3x16x32xbf16>, tensor<5x128xf32>, tensor<2x24x3x16x32xbf16>)
func.func @large(%x: tensor<128x768xf32>, %y: tensor<128x48x16xf32>) -> tensor<128x48x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<768x768xf32>
  %e = tensor.empty() : tensor<48x768x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e : tensor<768x768xf32> -> tensor<48x768x16xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<128x768xf32>, tensor<48x768x16xf32>) outs(%y : tensor<128x48x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %b, %a : f32
    %s = arith.addf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<128x48x16xf32>
  func.return %r : tensor<128x48x16xf32>
}

// An element of the panels is read from the prepared weights, times what the last row but one holds for its column.
// CHECK-LABEL: func.func @tied
// CHECK: %[[W:.*]] = "linalg_ext.split_matmul_weights"
// CHECK: %[[E:.*]] = tensor.extract %[[W]][%b, %k, %n] : tensor<2x34x16xf32>
// CHECK: %[[LAST:.*]] = arith.constant 32 : index
// CHECK: %[[U:.*]] = tensor.extract %[[W]][%b, %[[LAST]], %n]
// CHECK: arith.mulf %[[E]], %[[U]]
func.func @tied(%x: tensor<5x32xf32>, %y: tensor<5x2x16xf32>, %b: index, %k: index, %n: index) -> (tensor<5x2x16xf32>, f32) {
  %w = arith.constant dense_resource<w> : tensor<32x32xf32>
  %e = tensor.empty() : tensor<2x32x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e : tensor<32x32xf32> -> tensor<2x32x16xf32>
  %v = tensor.extract %p[%b, %k, %n] : tensor<2x32x16xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x32xf32>, tensor<2x32x16xf32>) outs(%y : tensor<5x2x16xf32>) {
  ^bb0(%a: f32, %c: f32, %acc: f32):
    %m = arith.mulf %a, %c : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x2x16xf32>
  func.return %r, %v : tensor<5x2x16xf32>, f32
}

// Inside a loop the weights are prepared where they are packed, outside of it.
// CHECK-LABEL: func.func @loop
// CHECK: "linalg_ext.split_matmul_weights"
// CHECK: scf.for
// CHECK-NOT: split_matmul_weights
// CHECK: "linalg_ext.split_matmul"
func.func @loop(%x: tensor<5x32xf32>, %y: tensor<5x2x16xf32>) -> tensor<5x2x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32xf32>
  %e = tensor.empty() : tensor<2x32x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e : tensor<32x32xf32> -> tensor<2x32x16xf32>
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %three = arith.constant 3 : index
  %l = scf.for %i = %zero to %three step %one iter_args(%h = %y) -> (tensor<5x2x16xf32>) {
    %s = tensor.collapse_shape %h [[0], [1, 2]] : tensor<5x2x16xf32> into tensor<5x32xf32>
    %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%s, %p : tensor<5x32xf32>, tensor<2x32x16xf32>) outs(%y : tensor<5x2x16xf32>) {
    ^bb0(%a: f32, %b: f32, %acc: f32):
      %m = arith.mulf %a, %b : f32
      %t = arith.addf %m, %acc : f32
      linalg.yield %t : f32
    } -> tensor<5x2x16xf32>
    scf.yield %r : tensor<5x2x16xf32>
  }
  func.return %l : tensor<5x2x16xf32>
}

// Images: filters are panels of one block each, pixels rows.
// CHECK-LABEL: func.func @image
// CHECK: %[[F:.*]] = linalg.pack %w
// CHECK: %[[P:.*]] = tensor.collapse_shape %[[F]] {{\[\[}}0 : i64], [1 : i64, 2 : i64, 3 : i64, 4 : i64], [5 : i64]] : tensor<4x3x1x1x16x16xf32> into tensor<4x48x16xf32>
// CHECK: %[[W:.*]] = "linalg_ext.split_matmul_weights"(%[[P]]) : (tensor<4x48x16xf32>) -> tensor<4x66x16xf32>
// CHECK: %[[S:.*]] = tensor.empty() : tensor<5x2x3x16x32xbf16>
// CHECK: %[[R:.*]] = tensor.empty() : tensor<5x2x5x7xf32>
// CHECK: "linalg_ext.split_matmul"(%x, %[[W]], %y, %[[S]], %[[R]], %{{.*}})
func.func @image(%x: tensor<2x3x5x7x16xf32>, %y: tensor<2x4x5x7x16xf32>) -> tensor<2x4x5x7x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<64x48x1x1xf32>
  %e = tensor.empty() : tensor<4x3x1x1x16x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1, 2, 3] inner_dims_pos = [1, 0] inner_tiles = [16, 16] into %e : tensor<64x48x1x1xf32> -> tensor<4x3x1x1x16x16xf32>
  %r = linalg.generic {indexing_maps = [#xp, #wp, #yp], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction"]} ins(%x, %p : tensor<2x3x5x7x16xf32>, tensor<4x3x1x1x16x16xf32>) outs(%y : tensor<2x4x5x7x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<2x4x5x7x16xf32>
  func.return %r : tensor<2x4x5x7x16xf32>
}

// Every second pixel.
// CHECK-LABEL: func.func @strided
// CHECK: %[[X:.*]] = tensor.extract_slice %x[0, 0, 0, 0, 0] [1, 1, 3, 4, 16] [1, 1, 2, 2, 1] : tensor<1x1x5x7x16xf32> to tensor<1x1x3x4x16xf32>
// CHECK: "linalg_ext.split_matmul"(%[[X]],
func.func @strided(%x: tensor<1x1x5x7x16xf32>, %y: tensor<1x1x3x4x16xf32>) -> tensor<1x1x3x4x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<16x16x1x1xf32>
  %e = tensor.empty() : tensor<1x1x1x1x16x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1, 2, 3] inner_dims_pos = [1, 0] inner_tiles = [16, 16] into %e : tensor<16x16x1x1xf32> -> tensor<1x1x1x1x16x16xf32>
  %r = linalg.generic {indexing_maps = [#xs, #wp, #yp], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction"]} ins(%x, %p : tensor<1x1x5x7x16xf32>, tensor<1x1x1x1x16x16xf32>) outs(%y : tensor<1x1x3x4x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<1x1x3x4x16xf32>
  func.return %r : tensor<1x1x3x4x16xf32>
}

// Weights that are computed, half a vector of terms, narrower panels, another body, sizes left open: as they are.
// CHECK-LABEL: func.func @run_time
// CHECK-NOT: split_matmul
func.func @run_time(%x: tensor<5x32xf32>, %p: tensor<2x32x16xf32>, %y: tensor<5x2x16xf32>) -> tensor<5x2x16xf32> {
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x32xf32>, tensor<2x32x16xf32>) outs(%y : tensor<5x2x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x2x16xf32>
  func.return %r : tensor<5x2x16xf32>
}

// CHECK-LABEL: func.func @forty_terms
// CHECK-NOT: split_matmul
func.func @forty_terms(%x: tensor<5x40xf32>, %y: tensor<5x2x16xf32>) -> tensor<5x2x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x40xf32>
  %e = tensor.empty() : tensor<2x40x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e : tensor<32x40xf32> -> tensor<2x40x16xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x40xf32>, tensor<2x40x16xf32>) outs(%y : tensor<5x2x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x2x16xf32>
  func.return %r : tensor<5x2x16xf32>
}

// CHECK-LABEL: func.func @panels_of_eight
// CHECK-NOT: split_matmul
func.func @panels_of_eight(%x: tensor<5x32xf32>, %y: tensor<5x4x8xf32>) -> tensor<5x4x8xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32xf32>
  %e = tensor.empty() : tensor<4x32x8xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [8] into %e : tensor<32x32xf32> -> tensor<4x32x8xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x32xf32>, tensor<4x32x8xf32>) outs(%y : tensor<5x4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x4x8xf32>
  func.return %r : tensor<5x4x8xf32>
}

// CHECK-LABEL: func.func @difference
// CHECK-NOT: split_matmul
func.func @difference(%x: tensor<5x32xf32>, %y: tensor<5x2x16xf32>) -> tensor<5x2x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32xf32>
  %e = tensor.empty() : tensor<2x32x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e : tensor<32x32xf32> -> tensor<2x32x16xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x32xf32>, tensor<2x32x16xf32>) outs(%y : tensor<5x2x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.subf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<5x2x16xf32>
  func.return %r : tensor<5x2x16xf32>
}

// CHECK-LABEL: func.func @sizes_left_open
// CHECK-NOT: split_matmul
func.func @sizes_left_open(%x: tensor<?x32xf32>, %y: tensor<?x2x16xf32>) -> tensor<?x2x16xf32> {
  %w = arith.constant dense_resource<w> : tensor<32x32xf32>
  %e = tensor.empty() : tensor<2x32x16xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [16] into %e : tensor<32x32xf32> -> tensor<2x32x16xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<?x32xf32>, tensor<2x32x16xf32>) outs(%y : tensor<?x2x16xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<?x2x16xf32>
  func.return %r : tensor<?x2x16xf32>
}
