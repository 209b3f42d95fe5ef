// RUN: mlc-opt --linalg-quantize-contraction-inputs --linalg-narrow-integral-contractions %s | filecheck %s
// RUN: mlc-opt --linalg-quantize-contraction-inputs --linalg-narrow-integral-contractions --linalg-pack-matmul='block=16 interleave=true' %s | filecheck %s --check-prefix=FOURS
// RUN: mlc-opt --linalg-narrow-integral-contractions %s | filecheck %s --check-prefix=ALONE

// CHECK-LABEL: func.func @linear
// CHECK: arith.fptosi {{.*}} : f32 to i8
// CHECK: linalg.matmul ins({{.*}} : tensor<4x24xi8>, tensor<24x32xi8>) outs({{.*}} : tensor<4x32xi32>)
// CHECK: arith.sitofp {{.*}} : i32 to f32
// The machine's instruction multiplies unsigned by signed: 128 is added to one factor, and taken off the sums.
// FOURS-LABEL: func.func @linear
// FOURS: linalg.pack {{.*}} inner_tiles = [16, 4] into {{.*}} tensor<2x6x16x4xi8>
// FOURS: arith.xori {{.*}} : i8
// FOURS: tensor.expand_shape {{.*}} : tensor<4x24xi8> into tensor<4x6x4xi8>
// FOURS: arith.extui {{.*}} : i8 to i32
// FOURS: arith.extsi {{.*}} : i8 to i32
// FOURS: arith.constant 128 : i32
// FOURS: arith.subi
// What was not quantised is not known to be whole numbers.
// ALONE-LABEL: func.func @linear
// ALONE-NOT: i8
// ALONE: func.return
func.func @linear(%x: tensor<4x24xf32>) -> tensor<4x32xf32> {
  %w = arith.constant dense<0.3> : tensor<32x24xf32>
  %zero = arith.constant 0.0 : f32
  %te = tensor.empty() : tensor<24x32xf32>
  %t = linalg.transpose ins(%w : tensor<32x24xf32>) outs(%te : tensor<24x32xf32>) permutation = [1, 0]
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %t : tensor<4x24xf32>, tensor<24x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  func.return %m : tensor<4x32xf32>
}
