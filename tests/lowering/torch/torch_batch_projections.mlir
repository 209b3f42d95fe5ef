// RUN: mlc-opt --torch-roll-loops='min-steps=3' --torch-batch-projections %s | filecheck %s

// The input's layer runs once, on all steps; the state's stays in the loop.
// CHECK-LABEL: func.func @projects
// CHECK: %[[ALL:.*]] = torch.aten.linear %x, %{{.*}} -> !torch.vtensor<[2,3,4],f32>
// CHECK: torch.prim.Loop
// CHECK-NEXT: ^bb0(%[[T:.*]]: !torch.int, %[[H:.*]]: !torch.vtensor<[2,4],f32>):
// CHECK-NEXT: torch.aten.select.int %[[ALL]], %int1, %[[T]]
// CHECK: torch.aten.linear %[[H]],
// CHECK-NOT: torch.aten.linear
// CHECK: return

func.func @projects(%x: !torch.vtensor<[2,3,3],f32>, %h: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %none = torch.constant.none
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %wx = torch.vtensor.literal(dense<0.5> : tensor<4x3xf32>) : !torch.vtensor<[4,3],f32>
  %wh = torch.vtensor.literal(dense<0.25> : tensor<4x4xf32>) : !torch.vtensor<[4,4],f32>
  %x0 = torch.aten.select.int %x, %int1, %int0 : !torch.vtensor<[2,3,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p0 = torch.aten.linear %x0, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r0 = torch.aten.linear %h, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s0 = torch.aten.add.Tensor %p0, %r0, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h0 = torch.aten.tanh %s0 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %x1 = torch.aten.select.int %x, %int1, %int1 : !torch.vtensor<[2,3,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p1 = torch.aten.linear %x1, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r1 = torch.aten.linear %h0, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s1 = torch.aten.add.Tensor %p1, %r1, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h1 = torch.aten.tanh %s1 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %x2 = torch.aten.select.int %x, %int1, %int2 : !torch.vtensor<[2,3,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p2 = torch.aten.linear %x2, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r2 = torch.aten.linear %h1, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s2 = torch.aten.add.Tensor %p2, %r2, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h2 = torch.aten.tanh %s2 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  return %h2 : !torch.vtensor<[2,4],f32>
}
