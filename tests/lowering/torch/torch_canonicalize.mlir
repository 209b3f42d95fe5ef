// RUN: mlc-opt -p torch-canonicalize %s | filecheck %s

// Copies and inactive dropout go; active dropout stays.
// CHECK-LABEL: func.func @copies
// CHECK-SAME: (%[[X:[a-z0-9]+]]:
// CHECK: %[[R:.*]] = torch.aten.relu %[[X]] :
// CHECK: torch.aten.dropout %[[R]]
// CHECK-NOT: torch.aten.clone
func.func @copies(%x: !torch.vtensor<[2,3],f32>) -> !torch.vtensor<[2,3],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %true = torch.constant.bool true
  %p = torch.constant.float 5.000000e-01
  %int0 = torch.constant.int 0
  %a = torch.aten.dropout %x, %p, %false : !torch.vtensor<[2,3],f32>, !torch.float, !torch.bool -> !torch.vtensor<[2,3],f32>
  %b = torch.aten.clone %a, %none : !torch.vtensor<[2,3],f32>, !torch.none -> !torch.vtensor<[2,3],f32>
  %c = torch.aten.contiguous %b, %int0 : !torch.vtensor<[2,3],f32>, !torch.int -> !torch.vtensor<[2,3],f32>
  %d = torch.aten.relu %c : !torch.vtensor<[2,3],f32> -> !torch.vtensor<[2,3],f32>
  %e = torch.aten.dropout %d, %p, %true : !torch.vtensor<[2,3],f32>, !torch.float, !torch.bool -> !torch.vtensor<[2,3],f32>
  return %e : !torch.vtensor<[2,3],f32>
}

// Two transposes of the same dims cancel, of others do not.
// CHECK-LABEL: func.func @transposes
// CHECK-SAME: (%[[X:[a-z0-9]+]]:
// CHECK: torch.aten.transpose.int
// CHECK: torch.aten.transpose.int
// CHECK-NOT: torch.aten
// CHECK: return %[[X]], %{{.*}} :
func.func @transposes(%x: !torch.vtensor<[2,3,4],f32>) -> (!torch.vtensor<[2,3,4],f32>, !torch.vtensor<[4,2,3],f32>) {
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %minus = torch.constant.int -1
  %a = torch.aten.transpose.int %x, %int1, %int2 : !torch.vtensor<[2,3,4],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,4,3],f32>
  %b = torch.aten.transpose.int %a, %minus, %int1 : !torch.vtensor<[2,4,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3,4],f32>
  %c = torch.aten.transpose.int %a, %int0, %int1 : !torch.vtensor<[2,4,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[4,2,3],f32>
  return %b, %c : !torch.vtensor<[2,3,4],f32>, !torch.vtensor<[4,2,3],f32>
}

// A view of a view reads the first tensor; sizes that the type tells are constants.
// CHECK-LABEL: func.func @views
// CHECK-SAME: (%[[X:[a-z0-9]+]]:
// CHECK-NEXT: %[[N:.*]] = torch.constant.int 24
// CHECK-NEXT: %[[L:.*]] = torch.prim.ListConstruct %[[N]] :
// CHECK-NEXT: %{{.*}} = torch.aten.view %[[X]], %[[L]]
// CHECK-NEXT: return
func.func @views(%x: !torch.vtensor<[2,12],f32>) -> !torch.vtensor<[24],f32> {
  %int0 = torch.constant.int 0
  %int3 = torch.constant.int 3
  %int4 = torch.constant.int 4
  %int12 = torch.constant.int 12
  %n = torch.aten.size.int %x, %int0 : !torch.vtensor<[2,12],f32>, !torch.int -> !torch.int
  %m = torch.aten.mul.int %n, %int12 : !torch.int, !torch.int -> !torch.int
  %s = torch.prim.ListConstruct %n, %int3, %int4 : (!torch.int, !torch.int, !torch.int) -> !torch.list<int>
  %a = torch.aten.view %x, %s : !torch.vtensor<[2,12],f32>, !torch.list<int> -> !torch.vtensor<[2,3,4],f32>
  %t = torch.prim.ListConstruct %m : (!torch.int) -> !torch.list<int>
  %b = torch.aten.view %a, %t : !torch.vtensor<[2,3,4],f32>, !torch.list<int> -> !torch.vtensor<[24],f32>
  return %b : !torch.vtensor<[24],f32>
}
