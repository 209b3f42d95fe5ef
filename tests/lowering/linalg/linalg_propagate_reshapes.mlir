// RUN: mlc-opt -p linalg-propagate-reshapes %s | filecheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>
#id3 = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#col = affine_map<(d0, d1, d2) -> (d2)>

// A product written in panels: the bias follows in panels, the merge comes after.
// CHECK-LABEL: func.func @split
// CHECK: %[[M:.*]] = linalg.generic
// CHECK: tensor.expand_shape %b
// CHECK: linalg.generic {{.*}}affine_map<(d0, d1, d2) -> (d1, d2)>{{.*}} ins(%[[M]], %{{.*}} : tensor<4x2x8xf32>, tensor<2x8xf32>)
// CHECK: tensor.collapse_shape %{{.*}} : tensor<4x2x8xf32> into tensor<4x16xf32>
// CHECK: return
func.func @split(%x: tensor<4x3xf32>, %w: tensor<2x3x8xf32>, %z: tensor<4x2x8xf32>, %b: tensor<16xf32>) -> tensor<4x16xf32> {
  %m = linalg.generic {indexing_maps = [affine_map<(m, n1, n0, k) -> (m, k)>, affine_map<(m, n1, n0, k) -> (n1, k, n0)>, affine_map<(m, n1, n0, k) -> (m, n1, n0)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : tensor<4x3xf32>, tensor<2x3x8xf32>) outs(%z : tensor<4x2x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.mulf %p, %q : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<4x2x8xf32>
  %c = tensor.collapse_shape %m [[0], [1, 2]] : tensor<4x2x8xf32> into tensor<4x16xf32>
  %e = tensor.empty() : tensor<4x16xf32>
  %r = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%c, %b : tensor<4x16xf32>, tensor<16xf32>) outs(%e : tensor<4x16xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x16xf32>
  return %r : tensor<4x16xf32>
}

// Rows that are split for the sake of a batch dimension merge again; a dynamic size is carried along.
// CHECK-LABEL: func.func @merge
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %b : tensor<?x8xf32>, tensor<8xf32>)
// CHECK: tensor.expand_shape {{.*}} into tensor<2x?x8xf32>
// CHECK: return
func.func @merge(%x: tensor<?x3xf32>, %w: tensor<3x8xf32>, %z: tensor<?x8xf32>, %b: tensor<8xf32>, %n: index) -> tensor<2x?x8xf32> {
  %m = linalg.matmul ins(%x, %w : tensor<?x3xf32>, tensor<3x8xf32>) outs(%z : tensor<?x8xf32>) -> tensor<?x8xf32>
  %c = tensor.expand_shape %m [[0, 1], [2]] output_shape [2, %n, 8] : tensor<?x8xf32> into tensor<2x?x8xf32>
  %e = tensor.empty(%n) : tensor<2x?x8xf32>
  %r = linalg.generic {indexing_maps = [#id3, #col, #id3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%c, %b : tensor<2x?x8xf32>, tensor<8xf32>) outs(%e : tensor<2x?x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<2x?x8xf32>
  return %r : tensor<2x?x8xf32>
}

// An operand that depends on half of the merged rows keeps the op where it is.
// CHECK-LABEL: func.func @kept
// CHECK: tensor.expand_shape
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %b : tensor<2x4x8xf32>, tensor<4xf32>)
func.func @kept(%x: tensor<8x3xf32>, %w: tensor<3x8xf32>, %z: tensor<8x8xf32>, %b: tensor<4xf32>) -> tensor<2x4x8xf32> {
  %m = linalg.matmul ins(%x, %w : tensor<8x3xf32>, tensor<3x8xf32>) outs(%z : tensor<8x8xf32>) -> tensor<8x8xf32>
  %c = tensor.expand_shape %m [[0, 1], [2]] output_shape [2, 4, 8] : tensor<8x8xf32> into tensor<2x4x8xf32>
  %e = tensor.empty() : tensor<2x4x8xf32>
  %r = linalg.generic {indexing_maps = [#id3, affine_map<(d0, d1, d2) -> (d1)>, #id3], iterator_types = ["parallel", "parallel", "parallel"]} ins(%c, %b : tensor<2x4x8xf32>, tensor<4xf32>) outs(%e : tensor<2x4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<2x4x8xf32>
  return %r : tensor<2x4x8xf32>
}

// One element that loses its only dimension leaves no loop to move.
// CHECK-LABEL: func.func @scalar
// CHECK: tensor.collapse_shape {{.*}} : tensor<1xf32> into tensor<f32>
// CHECK: linalg.generic
// CHECK: return
func.func @scalar(%x: tensor<1xf32>) -> tensor<f32> {
  %e1 = tensor.empty() : tensor<1xf32>
  %m = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<1xf32>) outs(%e1 : tensor<1xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = math.exp %p : f32
    linalg.yield %s : f32
  } -> tensor<1xf32>
  %c = tensor.collapse_shape %m [] : tensor<1xf32> into tensor<f32>
  %e = tensor.empty() : tensor<f32>
  %r = linalg.generic {indexing_maps = [affine_map<() -> ()>, affine_map<() -> ()>], iterator_types = []} ins(%c : tensor<f32>) outs(%e : tensor<f32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<f32>
  return %r : tensor<f32>
}
