// RUN: mlc-opt -p convert-torch-to-linalg %s | filecheck %s

// The weight is transposed as a constant, bias and activation are elementwise ops in two dimensions, and the result
// is split into three only at the end.
// CHECK-LABEL: func.func @linear(
// CHECK-SAME: %[[X:.*]]: tensor<2x5x3xf32>) -> tensor<2x5x4xf32>
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}> : tensor<4x3xf32>
// CHECK: %[[R:.*]] = tensor.collapse_shape %[[X]] {{\[\[}}0 : i64, 1 : i64], [2 : i64]]
// CHECK: %[[T:.*]] = linalg.transpose ins(%[[W]]
// CHECK: linalg.matmul ins(%[[R]], %[[T]] : tensor<10x3xf32>, tensor<3x4xf32>)
// CHECK: linalg.generic
// CHECK-SAME: affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d1)>
// CHECK: arith.addf
// CHECK: linalg.generic
// CHECK: arith.cmpf olt
// CHECK: arith.select
// CHECK: -> tensor<10x4xf32>
// CHECK: tensor.expand_shape
// CHECK-NEXT: return
func.func @linear(%x: !torch.vtensor<[2,5,3],f32>) -> !torch.vtensor<[2,5,4],f32> {
  %w = torch.vtensor.literal(dense<1.0> : tensor<4x3xf32>) : !torch.vtensor<[4,3],f32>
  %b = torch.vtensor.literal(dense<1.0> : tensor<4xf32>) : !torch.vtensor<[4],f32>
  %y = torch.aten.linear %x, %w, %b : !torch.vtensor<[2,5,3],f32>, !torch.vtensor<[4,3],f32>, !torch.vtensor<[4],f32> -> !torch.vtensor<[2,5,4],f32>
  %z = torch.aten.relu %y : !torch.vtensor<[2,5,4],f32> -> !torch.vtensor<[2,5,4],f32>
  return %z : !torch.vtensor<[2,5,4],f32>
}

// Zero padding is tensor.pad; a depthwise convolution has its own op; the bias comes afterwards.
// CHECK-LABEL: func.func @depthwise(
// CHECK: tensor.pad %{{.*}} low[0, 0, 1, 1] high[0, 0, 1, 1]
// CHECK: linalg.depthwise_conv_2d_nchw_chw
// CHECK-SAME: strides = dense<2>
// CHECK: linalg.generic
// CHECK: arith.addf
func.func @depthwise(%x: !torch.vtensor<[1,2,4,4],f32>, %w: !torch.vtensor<[2,1,3,3],f32>, %b: !torch.vtensor<[2],f32>) -> !torch.vtensor<[1,2,2,2],f32> {
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %one = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
  %two = torch.prim.ListConstruct %int2, %int2 : (!torch.int, !torch.int) -> !torch.list<int>
  %y = torch.aten.conv2d %x, %w, %b, %two, %one, %one, %int2 : !torch.vtensor<[1,2,4,4],f32>, !torch.vtensor<[2,1,3,3],f32>, !torch.vtensor<[2],f32>, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,2,2],f32>
  return %y : !torch.vtensor<[1,2,2,2],f32>
}

// Arithmetic on constants alone is one op at the head of the function; integers lose their sign.
// CHECK-LABEL: func.func @constants(
// CHECK-SAME: %{{.*}}: tensor<2xi64>) -> (tensor<2xf32>, tensor<2xi64>)
// CHECK: linalg.generic
// CHECK: arith.addf
// CHECK: math.sqrt
// CHECK: arith.divf
// CHECK: arith.mulf
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @constants(%i: !torch.vtensor<[2],si64>) -> (!torch.vtensor<[2],f32>, !torch.vtensor<[2],si64>) {
  %v = torch.vtensor.literal(dense<[1.0, 2.0]> : tensor<2xf32>) : !torch.vtensor<[2],f32>
  %eps = torch.constant.float 1.000000e-05
  %int1 = torch.constant.int 1
  %a = torch.aten.add.Scalar %v, %eps, %int1 : !torch.vtensor<[2],f32>, !torch.float, !torch.int -> !torch.vtensor<[2],f32>
  %b = torch.aten.rsqrt %a : !torch.vtensor<[2],f32> -> !torch.vtensor<[2],f32>
  %c = torch.aten.mul.Tensor %b, %v : !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32> -> !torch.vtensor<[2],f32>
  return %c, %i : !torch.vtensor<[2],f32>, !torch.vtensor<[2],si64>
}

// Two inputs of one symbolic size: checked once, then one value; the slice of at most 8 needs no clamping.
// CHECK-LABEL: func.func @symbols(
// CHECK: cf.assert %{{.*}}, "an input's size must be in 2..8"
// CHECK: cf.assert %{{.*}}, "input size 0 must equal that of an earlier input"
// CHECK-NOT: cf.assert
// CHECK-NOT: tensor.extract_slice
// CHECK: linalg.generic
// CHECK: return
func.func @symbols(%x: !torch.vtensor<[?,3],f32>, %y: !torch.vtensor<[?,3],f32>) -> !torch.vtensor<[?,3],f32> {
  %s = torch.symbolic_int "s0" {min_val = 2, max_val = 8} : !torch.int
  torch.bind_symbolic_shape %x, [%s], affine_map<()[s0] -> (s0, 3)> : !torch.vtensor<[?,3],f32>
  torch.bind_symbolic_shape %y, [%s], affine_map<()[s0] -> (s0, 3)> : !torch.vtensor<[?,3],f32>
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int8 = torch.constant.int 8
  %a = torch.aten.slice.Tensor %x, %int0, %int0, %int8, %int1 : !torch.vtensor<[?,3],f32>, !torch.int, !torch.int, !torch.int, !torch.int -> !torch.vtensor<[?,3],f32>
  %b = torch.aten.add.Tensor %a, %y, %int1 : !torch.vtensor<[?,3],f32>, !torch.vtensor<[?,3],f32>, !torch.int -> !torch.vtensor<[?,3],f32>
  return %b : !torch.vtensor<[?,3],f32>
}

// Views leave nothing: the transposed sum is computed where the values lie, and transposed once at the end.
// CHECK-LABEL: func.func @views(
// CHECK: linalg.generic
// CHECK-SAME: tensor<2x12xf32>
// CHECK-COUNT-1: linalg.transpose
// CHECK-NOT: linalg.transpose
func.func @views(%x: !torch.vtensor<[2,12],f32>) -> !torch.vtensor<[12,2],f32> {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %t = torch.aten.t %x : !torch.vtensor<[2,12],f32> -> !torch.vtensor<[12,2],f32>
  %u = torch.aten.unsqueeze %t, %int0 : !torch.vtensor<[12,2],f32>, !torch.int -> !torch.vtensor<[1,12,2],f32>
  %a = torch.aten.add.Tensor %u, %t, %int1 : !torch.vtensor<[1,12,2],f32>, !torch.vtensor<[12,2],f32>, !torch.int -> !torch.vtensor<[1,12,2],f32>
  %s = torch.aten.squeeze.dim %a, %int0 : !torch.vtensor<[1,12,2],f32>, !torch.int -> !torch.vtensor<[12,2],f32>
  return %s : !torch.vtensor<[12,2],f32>
}
