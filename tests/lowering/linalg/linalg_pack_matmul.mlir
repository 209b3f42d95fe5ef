// RUN: mlc-opt --linalg-pack-matmul='block=16 in-place=false' %s | filecheck %s
// RUN: mlc-opt --linalg-pack-matmul='block=16 in-place=false' --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: mlc-opt --linalg-pack-matmul='block=16 in-place=true' %s | filecheck %s --check-prefix=PLACE

#id = affine_map<(d0, d1) -> (d0, d1)>
#col = affine_map<(d0, d1) -> (d1)>

// REMARK: [linalg-pack-matmul] applied: linalg.matmul: panels of 16 columns
// REMARK: [linalg-pack-matmul] missed: linalg.matmul: kept row-major (the right-hand side is computed at run time)

// The weight is packed straight from its untransposed form; bias and relu follow in split form; one view at the end.
// CHECK-LABEL: func.func @linear
// CHECK: linalg.pack {{.*}} inner_dims_pos = [0] inner_tiles = [16] into {{.*}} : tensor<32x24xf32> -> tensor<2x24x16xf32>
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel", "parallel", "reduction"]
// CHECK-SAME: ins(%{{.*}}, %{{.*}} : tensor<4x24xf32>, tensor<2x24x16xf32>)
// CHECK: tensor.expand_shape {{.*}} tensor<32xf32> into tensor<2x16xf32>
// CHECK: tensor<4x2x16xf32>
// CHECK: tensor.collapse_shape {{.*}} tensor<4x2x16xf32> into tensor<4x32xf32>
// CHECK-NEXT: func.return
func.func @linear(%x: tensor<4x24xf32>) -> tensor<4x32xf32> {
  %w = arith.constant dense<0.5> : tensor<32x24xf32>
  %b = arith.constant dense<1.0> : tensor<32xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x32xf32>
  %t = linalg.transpose ins(%w : tensor<32x24xf32>) outs(%te : tensor<24x32xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %t : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  %r = linalg.generic {indexing_maps = [#id, #col, #id], iterator_types = ["parallel", "parallel"]} ins(%m, %b : tensor<4x32xf32>, tensor<32xf32>) outs(%e : tensor<4x32xf32>) {
  ^bb0(%a: f32, %bias: f32, %o: f32):
    %s = arith.addf %a, %bias : f32
    linalg.yield %s : f32
  } -> tensor<4x32xf32>
  func.return %r : tensor<4x32xf32>
}

// CHECK-LABEL: func.func @two_activations
// CHECK: linalg.matmul
func.func @two_activations(%x: tensor<4x24xf32>, %y: tensor<24x32xf32>) -> tensor<4x32xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %y : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  func.return %m : tensor<4x32xf32>
}

// One row reads each weight once: it reads them as they lie, and nothing is packed.
// CHECK-LABEL: func.func @one_row
// CHECK-NOT: linalg.pack
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-SAME: ins(%{{.*}}, %{{.*}} : tensor<1x24xf32>, tensor<32x24xf32>)
func.func @one_row(%x: tensor<1x24xf32>) -> tensor<1x32xf32> {
  %w = arith.constant dense<0.5> : tensor<32x24xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x32xf32>
  %t = linalg.transpose ins(%w : tensor<32x24xf32>) outs(%te : tensor<24x32xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<1x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x32xf32>) -> tensor<1x32xf32>
  %m = linalg.matmul ins(%x, %t : tensor<1x24xf32>, tensor<24x32xf32>) outs(%f : tensor<1x32xf32>) -> tensor<1x32xf32>
  func.return %m : tensor<1x32xf32>
}

// Two rows of a constant that a product multiplies by are read from its panels: nothing else needs the constant.
// REMARK: [linalg-pack-matmul] applied: tensor.extract: reads the panels of a constant [reads-of-panels]
// CHECK-LABEL: func.func @tied
// CHECK: %[[P:.*]] = linalg.pack %{{.*}} : tensor<33x24xf32> -> tensor<3x24x16xf32>
// CHECK: %[[LANE:.*]] = arith.remui %[[ROW:.*]], %{{.*}} : index
// CHECK: %[[PANEL:.*]] = arith.divui %[[ROW]], %{{.*}} : index
// CHECK: tensor.extract %[[P]][%[[PANEL]], %{{.*}}, %[[LANE]]] : tensor<3x24x16xf32>
// CHECK: linalg.generic
// CHECK-SAME: ins(%{{.*}}, %[[P]] : tensor<4x24xf32>, tensor<3x24x16xf32>)
func.func @tied(%x: tensor<4x24xf32>, %ids: tensor<2xi64>) -> (tensor<2x24xf32>, tensor<4x33xf32>) {
  %w = arith.constant dense<0.5> : tensor<33x24xf32>
  %g = tensor.empty() : tensor<2x24xf32>
  %rows = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, #id], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<2xi64>) outs(%g : tensor<2x24xf32>) {
  ^bb0(%n: i64, %o: f32):
    %i = arith.index_cast %n : i64 to index
    %j = linalg.index 1 : index
    %v = tensor.extract %w[%i, %j] : tensor<33x24xf32>
    linalg.yield %v : f32
  } -> tensor<2x24xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x33xf32>
  %t = linalg.transpose ins(%w : tensor<33x24xf32>) outs(%te : tensor<24x33xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<4x33xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x33xf32>) -> tensor<4x33xf32>
  %m = linalg.matmul ins(%x, %t : tensor<4x24xf32>, tensor<24x33xf32>) outs(%f : tensor<4x33xf32>) -> tensor<4x33xf32>
  func.return %rows, %m : tensor<2x24xf32>, tensor<4x33xf32>
}

// Half of the constant is read: elements of a row lie apart in panels, so it is read as it lies.
// CHECK-LABEL: func.func @much_of_it
// CHECK: tensor.extract %{{.*}}[%{{.*}}, %{{.*}}] : tensor<32x24xf32>
func.func @much_of_it(%x: tensor<4x24xf32>, %ids: tensor<16xi64>) -> (tensor<16x24xf32>, tensor<4x32xf32>) {
  %w = arith.constant dense<0.5> : tensor<32x24xf32>
  %g = tensor.empty() : tensor<16x24xf32>
  %rows = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, #id], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<16xi64>) outs(%g : tensor<16x24xf32>) {
  ^bb0(%n: i64, %o: f32):
    %i = arith.index_cast %n : i64 to index
    %j = linalg.index 1 : index
    %v = tensor.extract %w[%i, %j] : tensor<32x24xf32>
    linalg.yield %v : f32
  } -> tensor<16x24xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x32xf32>
  %t = linalg.transpose ins(%w : tensor<32x24xf32>) outs(%te : tensor<24x32xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %t : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  func.return %rows, %m : tensor<16x24xf32>, tensor<4x32xf32>
}

// Rows that fill whole blocks are packed in place of the weights, which are read as they lie.
// CHECK-LABEL: func.func @blocks_of_rows
// CHECK: linalg.pack {{.*}} : tensor<40x24xf32> -> tensor<3x24x16xf32>
// PLACE-LABEL: func.func @blocks_of_rows
// PLACE: %[[W:.*]] = arith.constant dense<{{.*}}> : tensor<40x24xf32>
// PLACE: %[[X:.*]] = linalg.pack %{{.*}} inner_dims_pos = [0] inner_tiles = [16] into %{{.*}} : tensor<32x24xf32> -> tensor<2x24x16xf32>
// PLACE: linalg.generic
// PLACE-SAME: affine_map<(d0, d1, d2, d3) -> (d0, d3, d1)>, affine_map<(d0, d1, d2, d3) -> (d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
// PLACE-SAME: ins(%[[X]], %[[W]] : tensor<2x24x16xf32>, tensor<40x24xf32>)
// PLACE: tensor.collapse_shape
func.func @blocks_of_rows(%x: tensor<32x24xf32>) -> tensor<32x40xf32> {
  %w = arith.constant dense<0.5> : tensor<40x24xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x40xf32>
  %t = linalg.transpose ins(%w : tensor<40x24xf32>) outs(%te : tensor<24x40xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<32x40xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x40xf32>) -> tensor<32x40xf32>
  %m = linalg.matmul ins(%x, %t : tensor<32x24xf32>, tensor<24x40xf32>) outs(%f : tensor<32x40xf32>) -> tensor<32x40xf32>
  func.return %m : tensor<32x40xf32>
}
