// RUN: mlc-opt --linalg-winograd-matmul='columns=8 depth=6' %s | filecheck %s
// RUN: mlc-opt --linalg-winograd-matmul %s | filecheck %s --check-prefix=NONE

#x = affine_map<(m, n1, n0, k) -> (m, k)>
#w = affine_map<(m, n1, n0, k) -> (n1, k, n0)>
#y = affine_map<(m, n1, n0, k) -> (m, n1, n0)>

// Additions take the place of multiply-adds on a machine that nothing is known about.
// NONE-NOT: winograd

// Two pieces of six terms, added to what was there.
// CHECK-LABEL: func.func @packed
// CHECK: %[[P:.*]] = linalg.pack %w
// CHECK: %[[W:.*]] = "linalg_ext.winograd_matmul_weights"(%[[P]]) {depth = 6 : i64} : (tensor<2x12x4xf32>) -> tensor<2x16x4xf32>
// CHECK: %[[S:.*]] = tensor.empty() : tensor<5x2x64xf32>
// CHECK: %[[R:.*]] = tensor.empty() : tensor<7x5xf32>
// CHECK: %[[Y:.*]], %{{.*}}, %{{.*}} = "linalg_ext.winograd_matmul"(%x, %[[W]], %y, %[[S]], %[[R]]) {depth = 6 : i64}
// CHECK-NOT: linalg.generic
// CHECK: func.return %[[Y]]
func.func @packed(%x: tensor<5x12xf32>, %y: tensor<5x2x4xf32>) -> tensor<5x2x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x12xf32>
  %e = tensor.empty() : tensor<2x12x4xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<8x12xf32> -> tensor<2x12x4xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x12xf32>, tensor<2x12x4xf32>) outs(%y : tensor<5x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x2x4xf32>
  func.return %r : tensor<5x2x4xf32>
}

// No even split of eleven terms is near: one piece.
// CHECK-LABEL: func.func @prime
// CHECK: "linalg_ext.winograd_matmul_weights"(%{{.*}}) {depth = 11 : i64} : (tensor<2x11x4xf32>) -> tensor<2x15x4xf32>
// CHECK: "linalg_ext.winograd_matmul"({{.*}}) {depth = 11 : i64}
func.func @prime(%x: tensor<5x11xf32>, %y: tensor<5x2x4xf32>) -> tensor<5x2x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x11xf32>
  %e = tensor.empty() : tensor<2x11x4xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<8x11xf32> -> tensor<2x11x4xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x11xf32>, tensor<2x11x4xf32>) outs(%y : tensor<5x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %b, %a : f32
    %s = arith.addf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<5x2x4xf32>
  func.return %r : tensor<5x2x4xf32>
}

// Inside a loop the weights are prepared where they are packed, outside of it.
// CHECK-LABEL: func.func @loop
// CHECK: "linalg_ext.winograd_matmul_weights"
// CHECK: scf.for
// CHECK-NOT: winograd_matmul_weights
// CHECK: "linalg_ext.winograd_matmul"
func.func @loop(%x: tensor<5x8xf32>, %y: tensor<5x2x4xf32>) -> tensor<5x2x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x8xf32>
  %e = tensor.empty() : tensor<2x8x4xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<8x8xf32> -> tensor<2x8x4xf32>
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %three = arith.constant 3 : index
  %l = scf.for %i = %zero to %three step %one iter_args(%h = %y) -> (tensor<5x2x4xf32>) {
    %s = tensor.collapse_shape %h [[0], [1, 2]] : tensor<5x2x4xf32> into tensor<5x8xf32>
    %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%s, %p : tensor<5x8xf32>, tensor<2x8x4xf32>) outs(%y : tensor<5x2x4xf32>) {
    ^bb0(%a: f32, %b: f32, %acc: f32):
      %m = arith.mulf %a, %b : f32
      %t = arith.addf %m, %acc : f32
      linalg.yield %t : f32
    } -> tensor<5x2x4xf32>
    scf.yield %r : tensor<5x2x4xf32>
  }
  func.return %l : tensor<5x2x4xf32>
}

// Weights that are computed, too few columns, a single term, another body, other types: as they are.
// CHECK-LABEL: func.func @run_time
// CHECK-NOT: winograd
func.func @run_time(%x: tensor<5x12xf32>, %p: tensor<2x12x4xf32>, %y: tensor<5x2x4xf32>) -> tensor<5x2x4xf32> {
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x12xf32>, tensor<2x12x4xf32>) outs(%y : tensor<5x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x2x4xf32>
  func.return %r : tensor<5x2x4xf32>
}

// CHECK-LABEL: func.func @few_columns
// CHECK-NOT: winograd
func.func @few_columns(%x: tensor<5x12xf32>, %y: tensor<5x1x4xf32>) -> tensor<5x1x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<4x12xf32>
  %e = tensor.empty() : tensor<1x12x4xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<4x12xf32> -> tensor<1x12x4xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x12xf32>, tensor<1x12x4xf32>) outs(%y : tensor<5x1x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x1x4xf32>
  func.return %r : tensor<5x1x4xf32>
}

// CHECK-LABEL: func.func @one_term
// CHECK-NOT: winograd
func.func @one_term(%x: tensor<5x1xf32>, %y: tensor<5x2x4xf32>) -> tensor<5x2x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x1xf32>
  %e = tensor.empty() : tensor<2x1x4xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<8x1xf32> -> tensor<2x1x4xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x1xf32>, tensor<2x1x4xf32>) outs(%y : tensor<5x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<5x2x4xf32>
  func.return %r : tensor<5x2x4xf32>
}

// CHECK-LABEL: func.func @difference
// CHECK-NOT: winograd
func.func @difference(%x: tensor<5x12xf32>, %y: tensor<5x2x4xf32>) -> tensor<5x2x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x12xf32>
  %e = tensor.empty() : tensor<2x12x4xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<8x12xf32> -> tensor<2x12x4xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x12xf32>, tensor<2x12x4xf32>) outs(%y : tensor<5x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.subf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<5x2x4xf32>
  func.return %r : tensor<5x2x4xf32>
}

// CHECK-LABEL: func.func @double
// CHECK-NOT: winograd
func.func @double(%x: tensor<5x12xf64>, %y: tensor<5x2x4xf64>) -> tensor<5x2x4xf64> {
  %w = arith.constant dense_resource<w> : tensor<8x12xf64>
  %e = tensor.empty() : tensor<2x12x4xf64>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<8x12xf64> -> tensor<2x12x4xf64>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<5x12xf64>, tensor<2x12x4xf64>) outs(%y : tensor<5x2x4xf64>) {
  ^bb0(%a: f64, %b: f64, %acc: f64):
    %m = arith.mulf %a, %b : f64
    %s = arith.addf %m, %acc : f64
    linalg.yield %s : f64
  } -> tensor<5x2x4xf64>
  func.return %r : tensor<5x2x4xf64>
}

// CHECK-LABEL: func.func @sizes_left_open
// CHECK-NOT: winograd
func.func @sizes_left_open(%x: tensor<?x12xf32>, %y: tensor<?x2x4xf32>) -> tensor<?x2x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x12xf32>
  %e = tensor.empty() : tensor<2x12x4xf32>
  %p = linalg.pack %w outer_dims_perm = [0, 1] inner_dims_pos = [0] inner_tiles = [4] into %e : tensor<8x12xf32> -> tensor<2x12x4xf32>
  %r = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %p : tensor<?x12xf32>, tensor<2x12x4xf32>) outs(%y : tensor<?x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %m, %acc : f32
    linalg.yield %s : f32
  } -> tensor<?x2x4xf32>
  func.return %r : tensor<?x2x4xf32>
}
