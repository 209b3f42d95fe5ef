// Ops on value tensors that neither mutate nor draw random numbers may be merged and removed; the others stay.
// RUN: mlc-opt --cse --dce %s | filecheck %s

// CHECK-LABEL: func.func @forward
func.func @forward(%x: !torch.vtensor<[3],f32>, %t: !torch.tensor<[3],f32>) -> !torch.vtensor<[3],f32> {
  %one = torch.constant.int 1
  %again = torch.constant.int 1
  %p = torch.constant.float 0.5
  %true = torch.constant.bool true
  %false = torch.constant.bool false
  // Two equal sums are one.
  // CHECK: torch.aten.add.Tensor
  // CHECK-NOT: torch.aten.add.Tensor
  %a = torch.aten.add.Tensor %x, %x, %one : !torch.vtensor<[3],f32>, !torch.vtensor<[3],f32>, !torch.int -> !torch.vtensor<[3],f32>
  %b = torch.aten.add.Tensor %x, %x, %again : !torch.vtensor<[3],f32>, !torch.vtensor<[3],f32>, !torch.int -> !torch.vtensor<[3],f32>
  // An unused result goes, unless it came from a random generator or memory was written.
  // CHECK-NOT: torch.aten.tanh
  %c = torch.aten.tanh %x : !torch.vtensor<[3],f32> -> !torch.vtensor<[3],f32>
  // CHECK: torch.aten.dropout
  // CHECK-NOT: torch.aten.dropout
  %d = torch.aten.dropout %x, %p, %true : !torch.vtensor<[3],f32>, !torch.float, !torch.bool -> !torch.vtensor<[3],f32>
  %e = torch.aten.dropout %x, %p, %false : !torch.vtensor<[3],f32>, !torch.float, !torch.bool -> !torch.vtensor<[3],f32>
  // CHECK: torch.aten.tanh_
  %f = torch.aten.tanh_ %t : !torch.tensor<[3],f32> -> !torch.tensor<[3],f32>
  // CHECK: torch.aten.mul.Tensor %[[A:.*]], %[[A]]
  %r = torch.aten.mul.Tensor %a, %b : !torch.vtensor<[3],f32>, !torch.vtensor<[3],f32> -> !torch.vtensor<[3],f32>
  return %r : !torch.vtensor<[3],f32>
}
