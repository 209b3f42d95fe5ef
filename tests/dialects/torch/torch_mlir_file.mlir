// What torch-mlir writes, its control flow, torch_c ops, module attributes, several results, locations.
// RUN: mlc-opt %s | filecheck %s
// RUN: mlc-opt --mlir-print-debuginfo %s | filecheck %s --check-prefix=LOC

// CHECK: builtin.module attributes {torch.debug_module_name = "Net"} {
module attributes {torch.debug_module_name = "Net"} {
  // CHECK: func.func @control(%[[X:.*]]: !torch.vtensor<[?,3],f32>, %[[B:.*]]: !torch.bool)
  func.func @control(%arg0: !torch.vtensor<[?,3],f32>, %arg1: !torch.bool) -> (!torch.int, !torch.vtensor<[?,3],f32>) {
    %int1 = torch.constant.int 1
    %int10 = torch.constant.int 10
    %true = torch.constant.bool true
    // CHECK: torch.prim.If %[[B]] -> (!torch.int) {
    // CHECK-NEXT: torch.prim.If.yield %{{.*}} : !torch.int
    // CHECK: } else {
    %0 = torch.prim.If %arg1 -> (!torch.int) {
      torch.prim.If.yield %int1 : !torch.int
    } else {
      %int2 = torch.constant.int 2
      torch.prim.If.yield %int2 : !torch.int
    }
    // CHECK: torch.prim.If %[[B]] -> () {
    torch.prim.If %arg1 -> () {
      torch.prim.If.yield
    } else {
      torch.prim.If.yield
    }
    // CHECK: %{{.*}}, %{{.*}} = torch.prim.Loop %{{.*}}, %{{.*}}, init(%[[I:.*]], %[[X]]) {
    // CHECK-NEXT: ^{{.*}}(%{{.*}}: !torch.int, %{{.*}}: !torch.int, %{{.*}}: !torch.vtensor<[?,3],f32>):
    // CHECK: torch.prim.Loop.condition %{{.*}}, iter(%{{.*}}, %{{.*}} : !torch.int, !torch.vtensor<[?,3],f32>)
    // CHECK-NEXT: } : (!torch.int, !torch.bool, !torch.int, !torch.vtensor<[?,3],f32>) -> (!torch.int, !torch.vtensor<[?,3],f32>)
    %1:2 = torch.prim.Loop %int10, %true, init(%0, %arg0) {
    ^bb0(%arg2: !torch.int, %arg3: !torch.int, %arg4: !torch.vtensor<[?,3],f32>):
      %2 = torch.aten.add.int %arg3, %arg2 : !torch.int, !torch.int -> !torch.int
      // LOC: torch.aten.tanh {{.*}} loc("layer"("model.py":3:0))
      %3 = torch.aten.tanh %arg4 : !torch.vtensor<[?,3],f32> -> !torch.vtensor<[?,3],f32> loc(#loc3)
      torch.prim.Loop.condition %true, iter(%2, %3 : !torch.int, !torch.vtensor<[?,3],f32>)
    } : (!torch.int, !torch.bool, !torch.int, !torch.vtensor<[?,3],f32>) -> (!torch.int, !torch.vtensor<[?,3],f32>)
    // CHECK: torch.prim.Loop %{{.*}}, %{{.*}}, init() {
    // CHECK: torch.prim.Loop.condition %{{.*}}, iter()
    // CHECK: } : (!torch.int, !torch.bool) -> ()
    torch.prim.Loop %int10, %true, init() {
    ^bb0(%arg2: !torch.int):
      torch.prim.Loop.condition %true, iter()
    } : (!torch.int, !torch.bool) -> ()
    return %1#0, %1#1 : !torch.int, !torch.vtensor<[?,3],f32>
  }

  // CHECK-LABEL: func.func @border
  func.func @border(%arg0: tensor<2x?xi64>) -> tensor<2x?xi64> {
    // CHECK: torch_c.from_builtin_tensor %{{.*}} : tensor<2x?xi64> -> !torch.vtensor<[2,?],si64>
    %0 = torch_c.from_builtin_tensor %arg0 : tensor<2x?xi64> -> !torch.vtensor<[2,?],si64>
    %int-1 = torch.constant.int -1
    // CHECK: torch.aten.size.int %{{.*}}, %{{.*}} : !torch.vtensor<[2,?],si64>, !torch.int -> !torch.int
    %1 = torch.aten.size.int %0, %int-1 : !torch.vtensor<[2,?],si64>, !torch.int -> !torch.int
    // CHECK: torch_c.to_i64 %
    %2 = torch_c.to_i64 %1
    %3 = arith.addi %2, %2 : i64
    // CHECK: torch_c.from_i64 %
    %4 = torch_c.from_i64 %3
    // CHECK: torch.copy.to_tensor %{{.*}} : !torch.tensor<[2,?],si64>
    %5 = torch.copy.to_tensor %0 : !torch.tensor<[2,?],si64>
    %6 = torch.aten.add_.Scalar %5, %4, %4 : !torch.tensor<[2,?],si64>, !torch.int, !torch.int -> !torch.tensor<[2,?],si64>
    // CHECK: torch.overwrite.tensor.contents %{{.*}} overwrites %{{.*}} : !torch.vtensor<[2,?],si64>, !torch.tensor<[2,?],si64>
    torch.overwrite.tensor.contents %0 overwrites %5 : !torch.vtensor<[2,?],si64>, !torch.tensor<[2,?],si64>
    // CHECK: torch.copy.to_vtensor %{{.*}} : !torch.vtensor<[2,?],si64>
    %7 = torch.copy.to_vtensor %6 : !torch.vtensor<[2,?],si64>
    %8 = torch_c.to_builtin_tensor %7 : !torch.vtensor<[2,?],si64> -> tensor<2x?xi64>
    return %8 : tensor<2x?xi64>
  }

  // CHECK-LABEL: func.func @others
  func.func @others(%arg0: !torch.vtensor<[4,3],f32>) -> !torch.list<vtensor> {
    // CHECK: torch.constant.float 1.000000e-05
    %float1.000000e-05 = torch.constant.float 1.000000e-05
    // CHECK: torch.constant.float 0x7{{[fF]}}{{[fF]}}0000000000000
    %floatInf = torch.constant.float 0x7FF0000000000000
    // CHECK: torch.constant.str "a\0A\22b"
    %str = torch.constant.str "a\0A\22b"
    // CHECK: torch.constant.device "cpu"
    %cpu = torch.constant.device "cpu"
    %none = torch.constant.none
    %int0 = torch.constant.int 0
    %false = torch.constant.bool false
    // CHECK: "torch.constant.number"() {value = 2 : i64} : () -> !torch.number
    %n = "torch.constant.number"() {value = 2 : i64} : () -> !torch.number
    // CHECK: torch.prim.ListConstruct {{ *}}: () -> !torch.list<int>
    %0 = torch.prim.ListConstruct  : () -> !torch.list<int>
    // CHECK: %{{.*}}, %{{.*}} = torch.aten.max.dim
    %values, %indices = torch.aten.max.dim %arg0, %int0, %false : !torch.vtensor<[4,3],f32>, !torch.int, !torch.bool -> !torch.vtensor<[3],f32>, !torch.vtensor<[3],si64>
    // CHECK: torch.vtensor.literal(dense<[1, 2]> : tensor<2xsi64>) : !torch.vtensor<[2],si64>
    %1 = torch.vtensor.literal(dense<[1, 2]> : tensor<2xsi64>) : !torch.vtensor<[2],si64>
    // CHECK: torch.prim.DictConstruct keys(%{{.*}} : !torch.str) values(%{{.*}} : !torch.int) -> !torch.dict<str, int>
    %2 = torch.prim.DictConstruct keys(%str : !torch.str) values(%int0 : !torch.int) -> !torch.dict<str, int>
    // CHECK: torch.derefine %{{.*}} : !torch.int to !torch.optional<int>
    %3 = torch.derefine %int0 : !torch.int to !torch.optional<int>
    // CHECK: torch.prim.Print(%{{.*}}, %{{.*}}) : !torch.str, !torch.int
    torch.prim.Print(%str, %int0) : !torch.str, !torch.int
    // CHECK: %{{.*}}, %{{.*}} = torch.operator "ns.op"(%{{.*}}) {x = 1 : i64} : (!torch.vtensor<[4,3],f32>) -> (!torch.int, !torch.float)
    %4:2 = torch.operator "ns.op"(%arg0) {x = 1 : i64} : (!torch.vtensor<[4,3],f32>) -> (!torch.int, !torch.float)
    // CHECK: torch.symbolic_int "s0" {min_val = 2, max_val = 8} : !torch.int
    %5 = torch.symbolic_int "s0" {min_val = 2, max_val = 8} : !torch.int
    // CHECK: torch.bind_symbolic_shape %{{.*}}, [%{{.*}}], affine_map<()[s0] -> (s0, 3)> : !torch.vtensor<[4,3],f32>
    torch.bind_symbolic_shape %arg0, [%5], affine_map<()[s0] -> (s0, 3)> : !torch.vtensor<[4,3],f32>
    // CHECK: torch.runtime.assert %{{.*}}, "message"
    torch.runtime.assert %false, "message"
    // CHECK: torch.aten.dropout %{{.*}}, %{{.*}}, %{{.*}} {note = "kept"} : !torch.vtensor<[4,3],f32>, !torch.float, !torch.bool -> !torch.vtensor<[4,3],f32>
    %6 = torch.aten.dropout %arg0, %float1.000000e-05, %false {note = "kept"} : !torch.vtensor<[4,3],f32>, !torch.float, !torch.bool -> !torch.vtensor<[4,3],f32>
    // LOC: torch.aten.unbind.int {{.*}} loc(callsite("a.py":1:0 at "b.py":2:3))
    %7 = torch.aten.unbind.int %6, %int0 : !torch.vtensor<[4,3],f32>, !torch.int -> !torch.list<vtensor> loc(callsite("a.py":1:0 at "b.py":2:3))
    return %7 : !torch.list<vtensor>
  }
}
#loc1 = loc("model.py":3:0)
#loc3 = loc("layer"(#loc1))
