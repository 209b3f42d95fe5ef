// RUN: mlc-opt -p torch-fold-batch-norm %s | filecheck %s

// Statistics and weights are constants: one convolution is left, its weights scaled in f64.
// CHECK-LABEL: func.func @folds
// CHECK: torch.aten.add.Scalar %{{.*}} -> !torch.vtensor<[2],f64>
// CHECK: torch.aten.rsqrt %{{.*}} -> !torch.vtensor<[2],f64>
// CHECK: torch.aten.mul.Tensor %{{.*}} -> !torch.vtensor<[2,1,1,1],f64>
// CHECK: %[[W:.*]] = torch.aten.to.dtype %{{.*}} -> !torch.vtensor<[2,1,1,1],f32>
// CHECK: %[[B:.*]] = torch.aten.to.dtype %{{.*}} -> !torch.vtensor<[2],f32>
// CHECK: torch.aten.conv2d %{{.*}}, %[[W]], %[[B]],
// CHECK-NOT: torch.aten.batch_norm
// CHECK: return
func.func @folds(%x: !torch.vtensor<[1,1,4,4],f32>) -> !torch.vtensor<[1,2,4,4],f32> {
  %w = torch.vtensor.literal(dense<[[[[1.0]]], [[[2.0]]]]> : tensor<2x1x1x1xf32>) : !torch.vtensor<[2,1,1,1],f32>
  %c = torch.vtensor.literal(dense<[1.0, 2.0]> : tensor<2xf32>) : !torch.vtensor<[2],f32>
  %none = torch.constant.none
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %false = torch.constant.bool false
  %m = torch.constant.float 1.000000e-01
  %eps = torch.constant.float 1.000000e-05
  %one = torch.prim.ListConstruct %int1, %int1 : (!torch.int, !torch.int) -> !torch.list<int>
  %zero = torch.prim.ListConstruct %int0, %int0 : (!torch.int, !torch.int) -> !torch.list<int>
  %y = torch.aten.conv2d %x, %w, %none, %one, %zero, %one, %int1 : !torch.vtensor<[1,1,4,4],f32>, !torch.vtensor<[2,1,1,1],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.int -> !torch.vtensor<[1,2,4,4],f32>
  %r = torch.aten.batch_norm %y, %c, %c, %c, %c, %false, %m, %eps, %false : !torch.vtensor<[1,2,4,4],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.bool, !torch.float, !torch.float, !torch.bool -> !torch.vtensor<[1,2,4,4],f32>
  return %r : !torch.vtensor<[1,2,4,4],f32>
}

// Somebody else reads the linear layer: nothing changes.
// CHECK-LABEL: func.func @two_readers
// CHECK: torch.aten.linear
// CHECK-NEXT: torch.aten.batch_norm
func.func @two_readers(%x: !torch.vtensor<[3,1],f32>) -> (!torch.vtensor<[3,2],f32>, !torch.vtensor<[3,2],f32>) {
  %w = torch.vtensor.literal(dense<[[1.0], [2.0]]> : tensor<2x1xf32>) : !torch.vtensor<[2,1],f32>
  %c = torch.vtensor.literal(dense<[1.0, 2.0]> : tensor<2xf32>) : !torch.vtensor<[2],f32>
  %false = torch.constant.bool false
  %m = torch.constant.float 1.000000e-01
  %eps = torch.constant.float 1.000000e-05
  %y = torch.aten.linear %x, %w, %c : !torch.vtensor<[3,1],f32>, !torch.vtensor<[2,1],f32>, !torch.vtensor<[2],f32> -> !torch.vtensor<[3,2],f32>
  %r = torch.aten.batch_norm %y, %c, %c, %c, %c, %false, %m, %eps, %false : !torch.vtensor<[3,2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.bool, !torch.float, !torch.float, !torch.bool -> !torch.vtensor<[3,2],f32>
  return %y, %r : !torch.vtensor<[3,2],f32>, !torch.vtensor<[3,2],f32>
}

// Weights that come in as an argument are not known.
// CHECK-LABEL: func.func @open_weights
// CHECK: torch.aten.linear
// CHECK-NEXT: torch.aten.batch_norm
func.func @open_weights(%x: !torch.vtensor<[3,1],f32>, %w: !torch.vtensor<[2,1],f32>) -> !torch.vtensor<[3,2],f32> {
  %c = torch.vtensor.literal(dense<[1.0, 2.0]> : tensor<2xf32>) : !torch.vtensor<[2],f32>
  %false = torch.constant.bool false
  %m = torch.constant.float 1.000000e-01
  %eps = torch.constant.float 1.000000e-05
  %y = torch.aten.linear %x, %w, %c : !torch.vtensor<[3,1],f32>, !torch.vtensor<[2,1],f32>, !torch.vtensor<[2],f32> -> !torch.vtensor<[3,2],f32>
  %r = torch.aten.batch_norm %y, %c, %c, %c, %c, %false, %m, %eps, %false : !torch.vtensor<[3,2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.vtensor<[2],f32>, !torch.bool, !torch.float, !torch.float, !torch.bool -> !torch.vtensor<[3,2],f32>
  return %r : !torch.vtensor<[3,2],f32>
}
