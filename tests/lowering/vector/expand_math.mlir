// RUN: mlc-opt --expand-math='lookup=false' %s | filecheck %s
// RUN: mlc-opt --expand-math='fma=false lookup=false' %s | filecheck %s --check-prefix=NOFMA
// RUN: mlc-opt --expand-math='lookup=true' %s | filecheck %s --check-prefix=TABLE

// No call, no lane-by-lane work: the argument is clamped, reduced, put through a polynomial and scaled in two steps.
// CHECK-LABEL: func.func @exp
// CHECK: arith.select {{.*}} : vector<8xi1>, vector<8xf32>
// CHECK: math.fma {{.*}} : vector<8xf32>
// CHECK: arith.shli {{.*}} : vector<8xi32>
// CHECK-NOT: math.exp
// CHECK: func.return
// NOFMA-LABEL: func.func @exp
// NOFMA-NOT: math.fma
// By a table of powers there are five multiply-adds instead of eight.
// TABLE-LABEL: func.func @exp
// TABLE-COUNT-5: math.fma
// TABLE-NOT: math.fma
// TABLE: "x86vector.avx512.permvar"({{.*}}) : (vector<16xf32>, vector<8xi32>) -> vector<8xf32>
// TABLE: func.return
func.func @exp(%x: vector<8xf32>) -> vector<8xf32> {
  %y = math.exp %x : vector<8xf32>
  func.return %y : vector<8xf32>
}

// The same formula on a scalar.
// CHECK-LABEL: func.func @tanh
// CHECK: math.copysign {{.*}} : f32
// CHECK-NOT: math.tanh
// TABLE-LABEL: func.func @tanh
// TABLE: %[[LANES:.*]] = vector.broadcast {{.*}} : i32 to vector<4xi32>
// TABLE: %[[FOUND:.*]] = "x86vector.avx512.permvar"({{.*}}, %[[LANES]])
// TABLE: vector.extract %[[FOUND]][0] : f32 from vector<4xf32>
// TABLE-NOT: arith.divf
// TABLE: func.return
// CHECK: func.return
func.func @tanh(%x: f32) -> f32 {
  %y = math.tanh %x : f32
  func.return %y : f32
}

// Large arguments of sin are rare: their exact reduction stands aside.
// CHECK-LABEL: func.func @sin
// CHECK: arith.extf {{.*}} : vector<4xf32> to vector<4xf64>
// CHECK: vector.reduction <or>
// CHECK: scf.if
// CHECK: arith.truncf
// CHECK: func.return
func.func @sin(%x: vector<4xf32>) -> vector<4xf32> {
  %y = math.sin %x : vector<4xf32>
  func.return %y : vector<4xf32>
}

// What the machine does by itself stays; so does f64.
// CHECK-LABEL: func.func @kept
// CHECK-NEXT: math.sqrt
// CHECK-NEXT: math.floor
// CHECK-NEXT: math.log {{.*}} : f64
// CHECK-NEXT: func.return
func.func @kept(%x: f32, %d: f64) -> (f32, f64) {
  %y = math.sqrt %x : f32
  %z = math.floor %y : f32
  %l = math.log %d : f64
  func.return %z, %l : f32, f64
}

// Only the sum with one is used: it is the last multiply-add, and the sign went into the constants.
// CHECK-LABEL: func.func @sigmoid
// CHECK-NOT: arith.negf
// CHECK: arith.shli
// CHECK: %d = math.fma {{.*}} : vector<4xf32>
// CHECK-NEXT: arith.divf {{.*}}, %d : vector<4xf32>
// CHECK-NEXT: func.return
func.func @sigmoid(%x: vector<4xf32>) -> vector<4xf32> {
  %one = arith.constant dense<1.0> : vector<4xf32>
  %n = arith.negf %x : vector<4xf32>
  %e = math.exp %n : vector<4xf32>
  %d = arith.addf %one, %e : vector<4xf32>
  %y = arith.divf %one, %d : vector<4xf32>
  func.return %y : vector<4xf32>
}

// What is at most zero cannot overflow: the bound becomes that of the formula, and one scale does.
// CHECK-LABEL: func.func @softmax
// CHECK-NOT: arith.minimumf
// CHECK: arith.shli
// CHECK-NOT: arith.shrsi
// CHECK: func.return
// TABLE-LABEL: func.func @softmax
// TABLE-NOT: arith.minsi
// TABLE: func.return
func.func @softmax(%x: vector<4xf32>, %largest: vector<4xf32>) -> vector<4xf32> {
  %zero = arith.constant dense<0.0> : vector<4xf32>
  %d = arith.subf %x, %largest : vector<4xf32>
  %n = arith.minimumf %d, %zero : vector<4xf32>
  %y = math.exp %n : vector<4xf32>
  func.return %y : vector<4xf32>
}

// One function of another of the same name: neither is written beside the other.
// CHECK-LABEL: func.func @twice
// CHECK: %[[INNER:.*]] = math.copysign {{.*}}, %{{.*}} : f32
// CHECK-NEXT: math.absf %[[INNER]] : f32
// CHECK: math.copysign {{.*}}, %[[INNER]] : f32
func.func @twice(%x: f32) -> f32 {
  %y = math.tanh %x : f32
  %z = math.tanh %y : f32
  func.return %z : f32
}
