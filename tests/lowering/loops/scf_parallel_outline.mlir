// RUN: mlc-opt --scf-parallel-outline='min-cost=0 grain-cost=200' %s | filecheck %s
// RUN: mlc-opt --scf-parallel-outline %s | filecheck %s --check-prefix=SMALL

// Two loops become one range, the inner one of them from where it begins in a row; views are made again inside, so that whole buffers are passed.

// CHECK: func.func private @k.parallel_0(%[[B:.*]]: index, %[[E:.*]]: index, %[[X:.*]]: memref<64x32xf32>) attributes {parallel = 3 : i64, parallel.cost = 97 : i64, parallel.streams} {
// CHECK: memref.cast %[[X]]
// CHECK: %[[FIRST:.*]] = arith.divui %[[B]], %[[N:.*]] : index
// CHECK: %[[LAST:.*]] = arith.ceildivui %[[E]], %[[N]] : index
// CHECK: scf.for %[[R:.*]] = %[[FIRST]] to %[[LAST]] step
// CHECK-NEXT: %[[BEFORE:.*]] = arith.muli %[[R]], %[[N]]
// CHECK-NEXT: arith.subi %[[B]], %[[BEFORE]]
// CHECK: arith.subi %[[E]], %[[BEFORE]]
// CHECK: scf.for
// CHECK-NOT: arith.remui
// CHECK-LABEL: func.func @k(
// CHECK-NOT: scf.parallel
// CHECK: %[[N:.*]] = arith.muli
// CHECK: func.call @k.parallel_0(%{{.*}}, %[[N]], %{{.*}}) : (index, index, memref<64x32xf32>) -> ()

// SMALL-NOT: parallel_0
// SMALL: scf.parallel
func.func @k(%x: memref<64x32xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c8 = arith.constant 8 : index
  %v = memref.cast %x : memref<64x32xf32> to memref<64x32xf32, strided<[32, 1], offset: ?>>
  "scf.parallel"(%c0, %c1, %c8, %c8, %c2, %c1) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
  ^bb0(%i: index, %j: index):
    %a = memref.load %v[%i, %j] : memref<64x32xf32, strided<[32, 1], offset: ?>>
    %b = arith.addf %a, %a : f32
    memref.store %b, %v[%i, %j] : memref<64x32xf32, strided<[32, 1], offset: ?>>
    "scf.reduce"() : () -> ()
  }) : (index, index, index, index, index, index) -> ()
  func.return
}

// One loop keeps its bounds and step; a buffer that may be shared says so in the function as well.

// CHECK-LABEL: func.func private @one.parallel_0
// CHECK-SAME: %[[B:.*]]: index, %[[E:.*]]: index, %{{.*}}: memref<64xf32> {mlc.may_alias})
// CHECK-DAG: %[[LOW:.*]] = arith.muli %[[B]], %[[STEP:.*]] : index
// CHECK-DAG: %[[HIGH:.*]] = arith.muli %[[E]], %[[STEP]] : index
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %[[STEP]]
// CHECK-NOT: arith.divui
// CHECK-LABEL: func.func @one(
func.func @one(%x: memref<64xf32>) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c64 = arith.constant 64 : index
  "scf.parallel"(%c0, %c64, %c2) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %a = memref.load %x[%i] : memref<64xf32>
    %b = arith.addf %a, %a : f32
    memref.store %b, %x[%i] : memref<64xf32>
    "scf.reduce"() : () -> ()
  }) : (index, index, index) -> ()
  func.return
}

// A reduction is never split.

// CHECK-LABEL: func.func @sum
// CHECK: scf.parallel
func.func @sum(%x: memref<64xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %z = arith.constant 0.0 : f32
  %r = "scf.parallel"(%c0, %c64, %c1, %z) <{operandSegmentSizes = array<i32: 1, 1, 1, 1>}> ({
  ^bb0(%i: index):
    %v = memref.load %x[%i] : memref<64xf32>
    "scf.reduce"(%v) ({
    ^bb0(%a: f32, %b: f32):
      %s = arith.addf %a, %b : f32
      "scf.reduce.return"(%s) : (f32) -> ()
    }) : (f32) -> ()
  }) : (index, index, index, f32) -> f32
  func.return %r : f32
}

// A private buffer is an argument that says so: a thread of the pool has its own in that place.

// CHECK-LABEL: func.func private @own.parallel_0
// CHECK-SAME: %[[P:[a-z0-9]*]]: memref<4xf32> {mlc.private}
// CHECK-NOT: linalg_ext.private
// CHECK: memref.store %{{.*}}, %[[P]]
// CHECK-LABEL: func.func @own(
// CHECK: func.call @own.parallel_0({{.*}}%s
func.func @own(%x: memref<64xf32>, %s: memref<4xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  "scf.parallel"(%c0, %c64, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %p = "linalg_ext.private"(%s) : (memref<4xf32>) -> memref<4xf32>
    %a = memref.load %x[%i] : memref<64xf32>
    memref.store %a, %p[%c0] : memref<4xf32>
    %b = memref.load %p[%c0] : memref<4xf32>
    %d = arith.addf %b, %b : f32
    memref.store %d, %x[%i] : memref<64xf32>
    "scf.reduce"() : () -> ()
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-LABEL: func.func @shared(
// CHECK: scf.parallel
func.func @shared(%x: memref<64xf32>, %s: memref<4xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  "scf.parallel"(%c0, %c64, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %p = "linalg_ext.private"(%s) : (memref<4xf32>) -> memref<4xf32>
    %a = memref.load %s[%c1] : memref<4xf32>
    memref.store %a, %p[%c0] : memref<4xf32>
    "scf.reduce"() : () -> ()
  }) : (index, index, index) -> ()
  func.return
}

// Little arithmetic on much memory is worth a thread; the same loop, called again and again by a loop, is not.

// SMALL-LABEL: func.func private @copy.parallel_0
// SMALL-SAME: attributes {parallel = 7 : i64, parallel.cost = 909 : i64, parallel.streams}
// SMALL-LABEL: func.func @copy
// SMALL-LABEL: func.func @copy_in_loop
// SMALL: scf.parallel
func.func @copy(%x: memref<64x341xf32>, %y: memref<64x341xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  "scf.parallel"(%c0, %c64, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %a = memref.load %x[%i, %c0] : memref<64x341xf32>
    memref.store %a, %y[%i, %c0] : memref<64x341xf32>
    "scf.reduce"() : () -> ()
  }) : (index, index, index) -> ()
  func.return
}

func.func @copy_in_loop(%x: memref<64x341xf32>, %y: memref<64x341xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  scf.for %k = %c0 to %c64 step %c1 {
    "scf.parallel"(%c0, %c64, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%i: index):
      %a = memref.load %x[%i, %k] : memref<64x341xf32>
      memref.store %a, %y[%i, %k] : memref<64x341xf32>
      "scf.reduce"() : () -> ()
    }) : (index, index, index) -> ()
  }
  func.return
}

// A loop inside that runs once or twice counts as two: of a load, an addition, a store and the loop itself.

// CHECK-LABEL: func.func private @once_or_twice.parallel_0
// CHECK-SAME: parallel.cost = 13 : i64
func.func @once_or_twice(%x: memref<65xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c63 = arith.constant 63 : index
  %c64 = arith.constant 64 : index
  "scf.parallel"(%c0, %c64, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %last = arith.cmpi eq, %i, %c63 : index
    %n = arith.select %last, %c2, %c1 : index
    %end = arith.addi %i, %n : index
    scf.for %j = %i to %end step %c1 {
      %a = memref.load %x[%j] : memref<65xf32>
      %b = arith.addf %a, %a : f32
      memref.store %b, %x[%j] : memref<65xf32>
    }
    "scf.reduce"() : () -> ()
  }) : (index, index, index) -> ()
  func.return
}

// How long a loop of open bounds takes at most is known where sizes are promised, also rounded down and the rest: too little
// to wake a thread for. Without a promise it may be much.

// CHECK-LABEL: func.func private @promised.parallel_0
// CHECK-LABEL: func.func private @unknown.parallel_0
// SMALL-NOT: @promised.parallel_0
// SMALL: func.func private @unknown.parallel_0
func.func @promised(%x: memref<?x?xf32> {mlc.at_most = array<i64: 20, 30>}) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %z = arith.constant 0.0 : f32
  %n = memref.dim %x, %c0 : memref<?x?xf32>
  %m = memref.dim %x, %c1 : memref<?x?xf32>
  %rest = arith.remui %m, %c8 : index
  %whole = arith.subi %m, %rest : index
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    scf.for %j = %c0 to %whole step %c8 {
      memref.store %z, %x[%i, %j] : memref<?x?xf32>
    }
    scf.for %j = %whole to %m step %c1 {
      memref.store %z, %x[%i, %j] : memref<?x?xf32>
    }
    "scf.reduce"() : () -> ()
  }) : (index, index, index) -> ()
  func.return
}
func.func @unknown(%x: memref<?x?xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %z = arith.constant 0.0 : f32
  %n = memref.dim %x, %c0 : memref<?x?xf32>
  "scf.parallel"(%c0, %n, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    memref.store %z, %x[%i, %c0] : memref<?x?xf32>
    "scf.reduce"() : () -> ()
  }) : (index, index, index) -> ()
  func.return
}

// Threads divide the second of two loops: the first runs whole for each piece, outside, in the order that was written.

// CHECK: func.func private @divided.parallel_0(%[[B:.*]]: index, %[[E:.*]]: index, %{{.*}}: memref<4x64xf32>) attributes
// CHECK: scf.for %{{.*}} = %[[ZERO:.*]] to %[[FOUR:.*]] step
// CHECK: %[[LOW:.*]] = arith.muli %[[B]]
// CHECK: %[[HIGH:.*]] = arith.muli %[[E]]
// CHECK: scf.for
// CHECK-NOT: scf.for
// CHECK-LABEL: func.func @divided(
// CHECK: %[[N:[0-9]+]] = arith.constant 64 : index
// CHECK: func.call @divided.parallel_0(%{{.*}}, %[[N]],
func.func @divided(%x: memref<4x64xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c64 = arith.constant 64 : index
  scf.parallel (%i, %j) = (%c0, %c0) to (%c4, %c64) step (%c1, %c1) {
    %a = memref.load %x[%i, %j] : memref<4x64xf32>
    %b = arith.addf %a, %a : f32
    memref.store %b, %x[%i, %j] : memref<4x64xf32>
    scf.reduce
  } {mlc.divided = 1 : i64}
  func.return
}
