// RUN: mlc-opt --torch-roll-loops='min-steps=3' %s | filecheck %s

// Equal steps become a loop that carries the state and collects it; the index of the input is the trip.
// CHECK-LABEL: func.func @collects
// CHECK: torch.aten.empty.memory_format {{.*}} -> !torch.vtensor<[2,4,4],f32>
// CHECK: torch.prim.Loop %{{.*}}, %{{.*}}, init(%h, %{{.*}}) {
// CHECK-NEXT: ^bb0(%[[T:.*]]: !torch.int, %[[H:.*]]: !torch.vtensor<[2,4],f32>, %[[ALL:.*]]: !torch.vtensor<[2,4,4],f32>):
// CHECK-NEXT: torch.aten.select.int %x, %int1, %[[T]]
// CHECK: torch.aten.linear %[[H]], %
// CHECK: %[[NOW:.*]] = torch.aten.tanh
// CHECK-NEXT: %[[NEXT:.*]] = torch.aten.select_scatter %[[ALL]], %[[NOW]], %int1, %[[T]]
// CHECK-NEXT: torch.prim.Loop.condition %{{.*}}, iter(%[[NOW]], %[[NEXT]]
// CHECK-NOT: torch.aten
// CHECK: return

func.func @collects(%x: !torch.vtensor<[2,4,3],f32>, %h: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4,4],f32> {
  %none = torch.constant.none
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %int2 = torch.constant.int 2
  %int3 = torch.constant.int 3
  %wx = torch.vtensor.literal(dense<0.5> : tensor<4x3xf32>) : !torch.vtensor<[4,3],f32>
  %wh = torch.vtensor.literal(dense<0.25> : tensor<4x4xf32>) : !torch.vtensor<[4,4],f32>
  %x0 = torch.aten.select.int %x, %int1, %int0 : !torch.vtensor<[2,4,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p0 = torch.aten.linear %x0, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r0 = torch.aten.linear %h, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s0 = torch.aten.add.Tensor %p0, %r0, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h0 = torch.aten.tanh %s0 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %x1 = torch.aten.select.int %x, %int1, %int1 : !torch.vtensor<[2,4,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p1 = torch.aten.linear %x1, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r1 = torch.aten.linear %h0, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s1 = torch.aten.add.Tensor %p1, %r1, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h1 = torch.aten.tanh %s1 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %x2 = torch.aten.select.int %x, %int1, %int2 : !torch.vtensor<[2,4,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p2 = torch.aten.linear %x2, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r2 = torch.aten.linear %h1, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s2 = torch.aten.add.Tensor %p2, %r2, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h2 = torch.aten.tanh %s2 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %x3 = torch.aten.select.int %x, %int1, %int3 : !torch.vtensor<[2,4,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p3 = torch.aten.linear %x3, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r3 = torch.aten.linear %h2, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s3 = torch.aten.add.Tensor %p3, %r3, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h3 = torch.aten.tanh %s3 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %l = torch.prim.ListConstruct %h0, %h1, %h2, %h3 : (!torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>) -> !torch.list<vtensor>
  %all = torch.aten.stack %l, %int1 : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[2,4,4],f32>
  return %all : !torch.vtensor<[2,4,4],f32>
}

// A list that begins with the first state: what the loop collects is put behind it.
// CHECK-LABEL: func.func @with_the_first
// CHECK: %{{.*}}, %[[LOOP:.*]] = torch.prim.Loop
// CHECK: %[[ROW:.*]] = torch.aten.unsqueeze %h, %int0
// CHECK: torch.prim.ListConstruct %[[ROW]], %[[LOOP]] :
// CHECK: torch.aten.cat

func.func @with_the_first(%x: !torch.vtensor<[2,3,3],f32>, %h: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[4,2,4],f32> {
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
  %l = torch.prim.ListConstruct %h, %h0, %h1, %h2 : (!torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>) -> !torch.list<vtensor>
  %all = torch.aten.stack %l, %int0 : !torch.list<vtensor>, !torch.int -> !torch.vtensor<[4,2,4],f32>
  return %all : !torch.vtensor<[4,2,4],f32>
}

// A value of one step in the middle is returned: it is read from what the loop keeps of all steps.
// CHECK-LABEL: func.func @one_step_is_read
// CHECK: %{{.*}}, %[[LOOP:.*]] = torch.prim.Loop
// CHECK: %[[MIDDLE:.*]] = torch.aten.select.int %[[LOOP]], %int0_1, %int1_1
// CHECK: %[[LAST:.*]] = torch.aten.select.int %[[LOOP]], %int0_1, %int2_2
// CHECK-NEXT: return %[[MIDDLE]], %[[LAST]]

func.func @one_step_is_read(%x: !torch.vtensor<[2,3,3],f32>, %h: !torch.vtensor<[2,4],f32>) -> (!torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>) {
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
  return %h1, %h2 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>
}

// Two steps are fewer than min-steps.
// CHECK-LABEL: func.func @too_few
// CHECK-NOT: torch.prim.Loop

func.func @too_few(%x: !torch.vtensor<[2,2,3],f32>, %h: !torch.vtensor<[2,4],f32>) -> !torch.vtensor<[2,4],f32> {
  %none = torch.constant.none
  %int0 = torch.constant.int 0
  %int1 = torch.constant.int 1
  %wx = torch.vtensor.literal(dense<0.5> : tensor<4x3xf32>) : !torch.vtensor<[4,3],f32>
  %wh = torch.vtensor.literal(dense<0.25> : tensor<4x4xf32>) : !torch.vtensor<[4,4],f32>
  %x0 = torch.aten.select.int %x, %int1, %int0 : !torch.vtensor<[2,2,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p0 = torch.aten.linear %x0, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r0 = torch.aten.linear %h, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s0 = torch.aten.add.Tensor %p0, %r0, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h0 = torch.aten.tanh %s0 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  %x1 = torch.aten.select.int %x, %int1, %int1 : !torch.vtensor<[2,2,3],f32>, !torch.int, !torch.int -> !torch.vtensor<[2,3],f32>
  %p1 = torch.aten.linear %x1, %wx, %none : !torch.vtensor<[2,3],f32>, !torch.vtensor<[4,3],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %r1 = torch.aten.linear %h0, %wh, %none : !torch.vtensor<[2,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none -> !torch.vtensor<[2,4],f32>
  %s1 = torch.aten.add.Tensor %p1, %r1, %int1 : !torch.vtensor<[2,4],f32>, !torch.vtensor<[2,4],f32>, !torch.int -> !torch.vtensor<[2,4],f32>
  %h1 = torch.aten.tanh %s1 : !torch.vtensor<[2,4],f32> -> !torch.vtensor<[2,4],f32>
  return %h1 : !torch.vtensor<[2,4],f32>
}
