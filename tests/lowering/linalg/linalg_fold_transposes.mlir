// RUN: mlc-opt -p linalg-fold-transposes %s | filecheck %s

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#swap = affine_map<(d0, d1, d2) -> (d1, d0, d2)>
#last = affine_map<(d0, d1, d2) -> (d0, d2, d1)>
#a = affine_map<(b, i, d, j) -> (b, i, j)>
#b = affine_map<(b, i, d, j) -> (b, j, d)>
#c = affine_map<(b, i, d, j) -> (b, i, d)>

// The heads of %v are read in place, and the result is written in the order that is wanted: one op.
// CHECK-LABEL: func.func @values
// CHECK: linalg.fill {{.*}} -> tensor<4x2x8xf32>
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d1, d0, d3)>, affine_map<(d0, d1, d2, d3) -> (d3, d1, d2)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%p, %v : tensor<2x4x3xf32>, tensor<3x2x8xf32>)
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @values(%p: tensor<2x4x3xf32>, %v: tensor<3x2x8xf32>) -> tensor<4x2x8xf32> {
  %zero = arith.constant 0.0 : f32
  %et = tensor.empty() : tensor<2x3x8xf32>
  %t = linalg.generic {indexing_maps = [#swap, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%v : tensor<3x2x8xf32>) outs(%et : tensor<2x3x8xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<2x3x8xf32>
  %e = tensor.empty() : tensor<2x4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %m = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%p, %t : tensor<2x4x3xf32>, tensor<2x3x8xf32>) outs(%f : tensor<2x4x8xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.mulf %x, %y : f32
    %u = arith.addf %o, %s : f32
    linalg.yield %u : f32
  } -> tensor<2x4x8xf32>
  %er = tensor.empty() : tensor<4x2x8xf32>
  %r = linalg.generic {indexing_maps = [#swap, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%m : tensor<2x4x8xf32>) outs(%er : tensor<4x2x8xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<4x2x8xf32>
  return %r : tensor<4x2x8xf32>
}

// Keys of few rows are summed along as they lie.

// CHECK-LABEL: func.func @few
// CHECK-NOT: ins(%k : tensor<2x8x3xf32>)
// CHECK: affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>
// CHECK-SAME: ins(%p, %k : tensor<2x4x3xf32>, tensor<2x8x3xf32>)
// CHECK: return
func.func @few(%p: tensor<2x4x3xf32>, %k: tensor<2x8x3xf32>, %z: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
  %et = tensor.empty() : tensor<2x3x8xf32>
  %t = linalg.generic {indexing_maps = [#last, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%k : tensor<2x8x3xf32>) outs(%et : tensor<2x3x8xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<2x3x8xf32>
  %m = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%p, %t : tensor<2x4x3xf32>, tensor<2x3x8xf32>) outs(%z : tensor<2x4x8xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.mulf %x, %y : f32
    %u = arith.addf %o, %s : f32
    linalg.yield %u : f32
  } -> tensor<2x4x8xf32>
  return %m : tensor<2x4x8xf32>
}

// Keys are needed with the positions innermost: the copy stays, the innermost loop keeps its unit stride.
// CHECK-LABEL: func.func @keys
// CHECK: linalg.generic {{.*}} ins(%k : tensor<2x8x3xf32>)
// CHECK: linalg.generic {{.*}} ins(%p, %{{.*}} : tensor<2x9x3xf32>, tensor<2x3x8xf32>)
// CHECK: return
func.func @keys(%p: tensor<2x9x3xf32>, %k: tensor<2x8x3xf32>, %z: tensor<2x9x8xf32>) -> tensor<2x9x8xf32> {
  %et = tensor.empty() : tensor<2x3x8xf32>
  %t = linalg.generic {indexing_maps = [#last, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%k : tensor<2x8x3xf32>) outs(%et : tensor<2x3x8xf32>) {
  ^bb0(%x: f32, %o: f32):
    linalg.yield %x : f32
  } -> tensor<2x3x8xf32>
  %m = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%p, %t : tensor<2x9x3xf32>, tensor<2x3x8xf32>) outs(%z : tensor<2x9x8xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %s = arith.mulf %x, %y : f32
    %u = arith.addf %o, %s : f32
    linalg.yield %u : f32
  } -> tensor<2x9x8xf32>
  return %m : tensor<2x9x8xf32>
}

// Panels of rows that meet weights read along their rows: without the copy no operand would have results side by side.
// CHECK-LABEL: func.func @panels
// CHECK: linalg.generic {{.*}} ins(%x : tensor<2x4x3xf32>)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %w : tensor<2x3x4xf32>, tensor<8x3xf32>)
// CHECK: return
func.func @panels(%x: tensor<2x4x3xf32>, %w: tensor<8x3xf32>, %z: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
  %et = tensor.empty() : tensor<2x3x4xf32>
  %t = linalg.generic {indexing_maps = [#last, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : tensor<2x4x3xf32>) outs(%et : tensor<2x3x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<2x3x4xf32>
  %m = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d3, d1)>, affine_map<(d0, d1, d2, d3) -> (d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%t, %w : tensor<2x3x4xf32>, tensor<8x3xf32>) outs(%z : tensor<2x4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    %u = arith.addf %o, %s : f32
    linalg.yield %u : f32
  } -> tensor<2x4x8xf32>
  return %m : tensor<2x4x8xf32>
}

// Pairs of terms lie side by side in the copy, not in what it copies: one instruction sums them.
// CHECK-LABEL: func.func @pairs
// CHECK: %[[T:.*]] = linalg.generic {{.*}} ins(%w : tensor<4x2x1x16xbf16>) outs({{.*}} : tensor<1x4x16x2xbf16>)
// CHECK: linalg.generic {{.*}} ins(%x, %[[T]] : tensor<9x4x2xbf16>, tensor<1x4x16x2xbf16>)
func.func @pairs(%x: tensor<9x4x2xbf16>, %w: tensor<4x2x1x16xbf16>, %z: tensor<9x1x16xf32>) -> tensor<9x1x16xf32> {
  %et = tensor.empty() : tensor<1x4x16x2xbf16>
  %t = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d1, d3, d0, d2)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%w : tensor<4x2x1x16xbf16>) outs(%et : tensor<1x4x16x2xbf16>) {
  ^bb0(%a: bf16, %o: bf16):
    linalg.yield %a : bf16
  } -> tensor<1x4x16x2xbf16>
  %m = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4) -> (d0, d3, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d1, d3, d2, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%x, %t : tensor<9x4x2xbf16>, tensor<1x4x16x2xbf16>) outs(%z : tensor<9x1x16xf32>) {
  ^bb0(%a: bf16, %b: bf16, %o: f32):
    %c = arith.extf %a : bf16 to f32
    %d = arith.extf %b : bf16 to f32
    %s = arith.mulf %c, %d : f32
    %u = arith.addf %o, %s : f32
    linalg.yield %u : f32
  } -> tensor<9x1x16xf32>
  return %m : tensor<9x1x16xf32>
}
