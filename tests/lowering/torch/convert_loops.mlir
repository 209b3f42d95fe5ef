// RUN: mlc-opt --split-input-file -p convert-torch-to-linalg %s | filecheck %s

// Each trip writes its row and nothing reads the others before the end: no zeros first. The trip's number needs no check.
// CHECK-LABEL: func.func @rows
// CHECK-NOT: linalg.fill
// CHECK: %[[E:.*]] = tensor.empty() : tensor<4x3xf32>
// CHECK-NEXT: scf.for %[[I:.*]] = {{.*}} iter_args(%[[ALL:.*]] = %[[E]])
// CHECK-NOT: cf.assert
// CHECK: tensor.insert_slice %{{.*}} into %[[ALL]][%[[I]], 0] [1, 3] [1, 1]
// CHECK: return
func.func @rows(%x: !torch.vtensor<[4,3],f32>, %so_far: !torch.vtensor<[4,3],f32>) -> !torch.vtensor<[4,3],f32> {
  %int0 = torch.constant.int 0
  %int4 = torch.constant.int 4
  %true = torch.constant.bool true
  %r = torch.prim.Loop %int4, %true, init(%so_far) {
  ^bb0(%i: !torch.int, %all: !torch.vtensor<[4,3],f32>):
    %row = torch.aten.select.int %x, %int0, %i : !torch.vtensor<[4,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[3],f32>
    %t = torch.aten.tanh %row : !torch.vtensor<[3],f32> -> !torch.vtensor<[3],f32>
    %next = torch.aten.select_scatter %all, %t, %int0, %i : !torch.vtensor<[4,3],f32>, !torch.vtensor<[3],f32>, !torch.int, !torch.int -> !torch.vtensor<[4,3],f32>
    torch.prim.Loop.condition %true, iter(%next : !torch.vtensor<[4,3],f32>)
  } : (!torch.int, !torch.bool, !torch.vtensor<[4,3],f32>) -> !torch.vtensor<[4,3],f32>
  return %r : !torch.vtensor<[4,3],f32>
}

// -----

// Three trips leave a row as it was, and a trip's number beyond a dim is checked.
// CHECK-LABEL: func.func @short
// CHECK: scf.for {{.*}} iter_args(%[[ALL:.*]] = %so_far)
// CHECK: cf.assert {{.*}}out of range
// CHECK: tensor.insert_slice %{{.*}} into %[[ALL]]
func.func @short(%x: !torch.vtensor<[2,3],f32>, %so_far: !torch.vtensor<[4,3],f32>) -> !torch.vtensor<[4,3],f32> {
  %int0 = torch.constant.int 0
  %int3 = torch.constant.int 3
  %true = torch.constant.bool true
  %r = torch.prim.Loop %int3, %true, init(%so_far) {
  ^bb0(%i: !torch.int, %all: !torch.vtensor<[4,3],f32>):
    %row = torch.aten.select.int %x, %int0, %i : !torch.vtensor<[2,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[3],f32>
    %t = torch.aten.tanh %row : !torch.vtensor<[3],f32> -> !torch.vtensor<[3],f32>
    %next = torch.aten.select_scatter %all, %t, %int0, %i : !torch.vtensor<[4,3],f32>, !torch.vtensor<[3],f32>, !torch.int, !torch.int -> !torch.vtensor<[4,3],f32>
    torch.prim.Loop.condition %true, iter(%next : !torch.vtensor<[4,3],f32>)
  } : (!torch.int, !torch.bool, !torch.vtensor<[4,3],f32>) -> !torch.vtensor<[4,3],f32>
  return %r : !torch.vtensor<[4,3],f32>
}
