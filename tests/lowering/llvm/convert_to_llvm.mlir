// RUN: mlc-opt --pass-pipeline='builtin.module(convert-to-llvm)' %s | filecheck %s

// Sizes and strides that the type leaves open travel beside the pointer; the status comes back.

// CHECK-LABEL: llvm.func @signature
// CHECK-SAME: !llvm.ptr {llvm.noalias}, %{{[0-9]+}}: i64, %{{[0-9]+}}: !llvm.ptr {llvm.noalias}, %{{[0-9]+}}: i64, %{{[0-9]+}}: i64, %{{[0-9]+}}: f32, %{{[0-9]+}}: !llvm.ptr) -> i32
// CHECK: llvm.return %{{[0-9]+}} : i32
func.func private @signature(%x: memref<4x?xf32>, %y: memref<4x?xf32, strided<[?, 1], offset: ?>>, %s: f32) attributes {kernel} {
  func.return
}

// A loop with known bounds needs no guard; the row's address is computed before the inner loop.

// CHECK-LABEL: llvm.func @nest
// CHECK: llvm.br ^[[ROW:bb[0-9]+]](%{{[0-9]+}} : i64)
// CHECK-NEXT: ^[[ROW]](%[[I:[0-9]+]]: i64):
// CHECK-NEXT: %[[ROWS:[0-9]+]] = llvm.mul %[[I]], %{{[0-9]+}} : i64
// CHECK-NEXT: %[[BASE:[0-9]+]] = llvm.getelementptr inbounds %{{[0-9]+}}[%[[ROWS]]]
// CHECK-NEXT: llvm.br ^[[COLUMN:bb[0-9]+]]
// CHECK-NEXT: ^[[COLUMN]](%[[J:[0-9]+]]: i64):
// CHECK-NEXT: %[[P:[0-9]+]] = llvm.getelementptr inbounds %[[BASE]][%[[J]]]
// CHECK-NEXT: llvm.load %[[P]] {alignment = 4 : i64} : !llvm.ptr -> vector<16xf32>
// CHECK-NEXT: %[[Q:[0-9]+]] = llvm.getelementptr inbounds %[[P]][128]
// CHECK-NEXT: llvm.load %[[Q]]
// CHECK-NOT: llvm.mul
// CHECK: llvm.cond_br %{{[0-9]+}}, ^[[COLUMN]]
func.func @nest(%x: memref<8x64xf32>) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c16 = arith.constant 16 : index
  %c64 = arith.constant 64 : index
  scf.for %i = %c0 to %c4 step %c2 {
    %i2 = arith.addi %i, %c2 : index
    scf.for %j = %c0 to %c64 step %c16 {
      %v = vector.load %x[%i, %j] : memref<8x64xf32>, vector<16xf32>
      %w = vector.load %x[%i2, %j] : memref<8x64xf32>, vector<16xf32>
      vector.store %v, %x[%i2, %j] : memref<8x64xf32>, vector<16xf32>
      vector.store %w, %x[%i, %j] : memref<8x64xf32>, vector<16xf32>
    }
  }
  func.return
}

// Loops that run once or never leave nothing of themselves.

// CHECK-LABEL: llvm.func @once_and_never
// CHECK-NOT: cond_br
// CHECK: llvm.store
// CHECK-NOT: llvm.store
// CHECK: llvm.return
func.func @once_and_never(%x: memref<8xf32>, %s: f32) {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %c8 = arith.constant 8 : index
  scf.for %i = %c3 to %c8 step %c8 {
    memref.store %s, %x[%i] : memref<8xf32>
  }
  scf.for %i = %c8 to %c3 step %c3 {
    memref.store %s, %x[%c0] : memref<8xf32>
  }
  func.return
}

// Rows of a vector are vectors of their own: extracting one costs nothing.

// CHECK-LABEL: llvm.func @rows
// CHECK-COUNT-2: llvm.load
// CHECK-NOT: extract
// CHECK: llvm.store
func.func @rows(%x: memref<2x8xf32>, %o: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %v = vector.load %x[%c0, %c0] : memref<2x8xf32>, vector<2x8xf32>
  %r = vector.extract %v[1] : vector<8xf32> from vector<2x8xf32>
  vector.store %r, %o[%c0] : memref<8xf32>, vector<8xf32>
  func.return
}

// A failed assert returns its number; equal messages share one.

// CHECK-LABEL: llvm.func @asserts
// CHECK-SAME: mlc.asserts = ["first", "second"]
// CHECK-DAG: %[[ONE:[0-9]+]] = llvm.mlir.constant(1 : i32)
// CHECK-DAG: %[[TWO:[0-9]+]] = llvm.mlir.constant(2 : i32)
// CHECK: llvm.return %[[ONE]] : i32
// CHECK: llvm.return %[[TWO]] : i32
// CHECK: llvm.return %[[ONE]] : i32
func.func @asserts(%a: i1, %b: i1) {
  cf.assert %a, "first"
  cf.assert %b, "second"
  cf.assert %a, "first"
  func.return
}

// An argument that may share memory with another one says so.

// CHECK-LABEL: llvm.func @in_place
// CHECK-SAME: (%{{[0-9]+}}: !llvm.ptr, %{{[0-9]+}}: !llvm.ptr {llvm.noalias}, %{{[0-9]+}}: !llvm.ptr)
func.func private @in_place(%x: memref<4xf32> {mlc.may_alias}, %y: memref<4xf32>) attributes {kernel} {
  func.return
}

// A kernel hands a function over a range to its team; without one it calls the function itself.

// CHECK-LABEL: llvm.func internal @k.parallel_0
// CHECK-SAME: (%{{[0-9]+}}: i64, %{{[0-9]+}}: i64, %{{[0-9]+}}: !llvm.ptr {llvm.noalias}) -> i32 attributes {no_inline}
// CHECK-LABEL: llvm.func internal @k.parallel_0.range
// CHECK-SAME: (%[[CONTEXT:[0-9]+]]: !llvm.ptr, %[[BEGIN:[0-9]+]]: i64, %[[END:[0-9]+]]: i64, %{{[0-9]+}}: !llvm.ptr)
// CHECK: %[[X:[0-9]+]] = llvm.load %[[CONTEXT]]
// CHECK: llvm.call @k.parallel_0(%[[BEGIN]], %[[END]], %[[X]])
// CHECK-LABEL: llvm.func @k(
// CHECK-SAME: %[[OUT:[0-9]+]]: !llvm.ptr {llvm.noalias}, %[[TEAM:[0-9]+]]: !llvm.ptr) -> i32
// CHECK: llvm.ptrtoint %[[TEAM]]
// CHECK: llvm.call @k.parallel_0(%{{[0-9]+}}, %[[COUNT:[0-9]+]], %[[OUT]])
// CHECK: llvm.store %[[OUT]], %[[PLACE:[0-9]+]]
// CHECK: %[[RUN:[0-9]+]] = llvm.load %[[TEAM]]
// CHECK: %[[BODY:[0-9]+]] = llvm.mlir.addressof @k.parallel_0.range
// CHECK: llvm.call %[[RUN]](%[[TEAM]], %[[BODY]], %[[PLACE]], %[[COUNT]], %{{[0-9]+}}, %{{[0-9]+}})
func.func private @k.parallel_0(%begin: index, %end: index, %x: memref<64xf32>) attributes {parallel = 8 : i64, parallel.cost = 9 : i64} {
  %c1 = arith.constant 1 : index
  %z = arith.constant 0.0 : f32
  scf.for %i = %begin to %end step %c1 {
    memref.store %z, %x[%i] : memref<64xf32>
  }
  func.return
}

func.func private @k(%x: memref<64xf32>) attributes {kernel} {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  func.call @k.parallel_0(%c0, %c64, %x) : (index, index, memref<64xf32>) -> ()
  func.return
}

// The place of a prefetch may lie outside of the buffer: its address is computed without `inbounds`.
// CHECK-LABEL: llvm.func @prefetched
// CHECK: llvm.getelementptr %{{.*}}[%{{.*}}] : (!llvm.ptr, i64) -> !llvm.ptr, f32
// CHECK: "llvm.intr.prefetch"(%{{.*}}) <{rw = 0 : i32, hint = 2 : i32, cache = 1 : i32}>
// CHECK: "llvm.intr.prefetch"(%{{.*}}) <{rw = 1 : i32, hint = 0 : i32, cache = 0 : i32}>
func.func private @prefetched(%x: memref<4x16xf32>, %i: index) attributes {kernel} {
  memref.prefetch %x[%i, %i], read, locality<2>, data : memref<4x16xf32>
  memref.prefetch %x[%i, %i], write, locality<0>, instr : memref<4x16xf32>
  func.return
}

// A private buffer lies in the thread's own memory where it has some: the second one behind the first, in whole lines.

// CHECK-LABEL: llvm.func internal @own.parallel_0.range
// CHECK-SAME: %[[OWN:[0-9]+]]: !llvm.ptr)
// CHECK: %[[A:[0-9]+]] = llvm.load
// CHECK: %[[B:[0-9]+]] = llvm.load
// CHECK: %[[ADDRESS:[0-9]+]] = llvm.ptrtoint %[[OWN]]
// CHECK: %[[ALONE:[0-9]+]] = llvm.icmp "eq" %[[ADDRESS]]
// CHECK: %[[FIRST:[0-9]+]] = llvm.select %[[ALONE]], %[[A]], %[[OWN]]
// CHECK: %[[PLACE:[0-9]+]] = llvm.getelementptr {{.*}}%[[OWN]][64]
// CHECK: %[[SECOND:[0-9]+]] = llvm.select %[[ALONE]], %[[B]], %[[PLACE]]
// CHECK: llvm.call @own.parallel_0({{.*}}%[[FIRST]], %[[SECOND]])
func.func private @own.parallel_0(%begin: index, %end: index, %s: memref<3xf32> {mlc.private}, %t: memref<3xf32> {mlc.private}) attributes {parallel = 8 : i64} {
  func.return
}
