// Two layers in the torch dialect, with their weights in the file.
//
//   mlc-opt examples/mlp.mlir --mlc-pipeline=cpu --mlc-to=kernels
//   mlc-opt examples/mlp.mlir --run
func.func @forward(%x: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,1],f32> {
  %w1 = torch.vtensor.literal(dense<[[0.5, -1.0, 0.25], [1.0, 0.0, -0.5]]> : tensor<2x3xf32>) : !torch.vtensor<[2,3],f32>
  %b1 = torch.vtensor.literal(dense<[0.1, -0.2]> : tensor<2xf32>) : !torch.vtensor<[2],f32>
  %w2 = torch.vtensor.literal(dense<[[2.0, -3.0]]> : tensor<1x2xf32>) : !torch.vtensor<[1,2],f32>
  %none = torch.constant.none
  %0 = torch.aten.linear %x, %w1, %b1 : !torch.vtensor<[2,3],f32>, !torch.vtensor<[2,3],f32>, !torch.vtensor<[2],f32> -> !torch.vtensor<[2,2],f32>
  %1 = torch.aten.relu %0 : !torch.vtensor<[2,2],f32> -> !torch.vtensor<[2,2],f32>
  %2 = torch.aten.linear %1, %w2, %none : !torch.vtensor<[2,2],f32>, !torch.vtensor<[1,2],f32>, !torch.none -> !torch.vtensor<[2,1],f32>
  func.return %2 : !torch.vtensor<[2,1],f32>
}
