// RUN: mlc-opt --bufferize --split-input-file %s | filecheck %s

// A concatenation is written in place, straight into the out-parameter; weights are globals; the result of a reshape is
// computed in the reshaped out-parameter; a kernel that is called with two layouts is there twice.

// CHECK: memref.global "private" constant @conv.weight : memref<8x8xf32> = dense_resource<conv.weight>
// CHECK: func.func @forward(%{{.*}}: memref<2x8xf32>, %[[OUT0:.*]]: memref<2x16xf32>, %[[OUT1:.*]]: memref<16xf32>) attributes {num_inputs = 1 : i64} {
// CHECK-NEXT: %[[W:.*]] = memref.get_global @conv.weight : memref<8x8xf32>
// CHECK-NEXT: %[[S:.*]] = memref.subview %[[OUT0]]{{\[}}0, 0{{\]}} [2, 8] [1, 1] : memref<2x16xf32> to memref<2x8xf32, strided<[16, 1]>>
// CHECK-NEXT: %[[P:.*]] = memref.cast %[[S]] : {{.*}} to memref<2x8xf32, strided<[16, 1], offset: ?>>
// CHECK-NEXT: func.call @matmul(%{{.*}}, %[[W]], %[[P]])
// CHECK: func.call @copy_0(
// CHECK: %[[E:.*]] = memref.expand_shape %[[OUT1]] {{.*}} output_shape [2, 8] : memref<16xf32> into memref<2x8xf32>
// CHECK: func.call @matmul_0(%{{.*}}, %[[W]], %[[E]])
// CHECK-NOT: memref.alloc
// CHECK: func.return
// CHECK: func.func private @matmul(%[[X:.*]]: memref<2x8xf32>, %[[M:.*]]: memref<8x8xf32>, %[[OUT:.*]]: memref<2x8xf32, strided<[16, 1], offset: ?>>) attributes {kernel} {
// The root and its epilogue work in the destination; the epilogue reads what the root wrote.
// CHECK: linalg.fill ins(%{{.*}} : f32) outs(%[[OUT]] :
// CHECK-NEXT: linalg.matmul ins(%[[X]], %[[M]] : {{.*}}) outs(%[[OUT]] :
// CHECK-NEXT: linalg.generic {{.*}} outs(%[[OUT]] :
// CHECK-NEXT: ^bb0(%[[O:.*]]: f32):
// CHECK-NEXT: arith.maximumf %[[O]]
func.func @forward(%x: tensor<2x8xf32>) -> (tensor<2x16xf32>, tensor<16xf32>) {
  %w = arith.constant dense_resource<conv.weight> : tensor<8x8xf32>
  %d = tensor.empty() : tensor<2x16xf32>
  %s = tensor.extract_slice %d[0, 0] [2, 8] [1, 1] : tensor<2x16xf32> to tensor<2x8xf32>
  %r = func.call @matmul(%x, %w, %s) : (tensor<2x8xf32>, tensor<8x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %d1 = tensor.insert_slice %r into %d[0, 0] [2, 8] [1, 1] : tensor<2x8xf32> into tensor<2x16xf32>
  %d2 = tensor.insert_slice %x into %d1[0, 8] [2, 8] [1, 1] : tensor<2x8xf32> into tensor<2x16xf32>
  %e = tensor.empty() : tensor<2x8xf32>
  %q = func.call @matmul(%r, %w, %e) : (tensor<2x8xf32>, tensor<8x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %c = tensor.collapse_shape %q [[0, 1]] : tensor<2x8xf32> into tensor<16xf32>
  return %d2, %c : tensor<2x16xf32>, tensor<16xf32>
}
func.func private @matmul(%x: tensor<2x8xf32>, %w: tensor<8x8xf32>, %out: tensor<2x8xf32>) -> tensor<2x8xf32> attributes {kernel} {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<2x8xf32>) -> tensor<2x8xf32>
  %m = linalg.matmul ins(%x, %w : tensor<2x8xf32>, tensor<8x8xf32>) outs(%f : tensor<2x8xf32>) -> tensor<2x8xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%m : tensor<2x8xf32>) outs(%out : tensor<2x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %y = arith.maximumf %a, %zero : f32
    linalg.yield %y : f32
  } -> tensor<2x8xf32>
  return %r : tensor<2x8xf32>
}

// -----

// Traps: an argument must not be changed, an argument returned is copied, a result returned twice is copied once.

// CHECK: func.func @forward(%{{.*}}: memref<4xf32>, %{{.*}}: memref<2xf32>, %{{.*}}: memref<4xf32>, %{{.*}}: memref<4xf32>, %{{.*}}: memref<4xf32>)
// CHECK: %[[NEW:.*]] = memref.alloc() {alignment = 64 : i64} : memref<4xf32>
// CHECK: func.call @copy_0(%[[X:.*]], %[[NEW]])
// CHECK: %[[BOX:.*]] = memref.subview %[[NEW]]{{\[}}1{{\]}} [2] [1]
// CHECK: func.call @copy_1(
// CHECK: func.call @copy_0(%[[NEW]], %{{.*}})
// CHECK: func.call @copy_0(%[[NEW]], %{{.*}})
// CHECK: func.call @copy_0(%[[X]], %{{.*}})
// CHECK: func.return
func.func @forward(%x: tensor<4xf32>, %y: tensor<2xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %r = tensor.insert_slice %y into %x[1] [2] [1] : tensor<2xf32> into tensor<4xf32>
  return %r, %r, %x : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// Padding is a fill and a copy into the middle; small temporaries lie on the stack, large ones come from the caller.

// CHECK: func.func @forward
// CHECK: %[[SCRATCH:.*]] = memref.alloc() {alignment = 64 : i64} : memref<4096xf32>
// CHECK: func.call @k(%{{.*}}, %{{.*}}, %[[SCRATCH]])
// CHECK: func.func private @k(%[[X:.*]]: memref<4094xf32>, %[[OUT:.*]]: memref<4096xf32>, %[[S:.*]]: memref<4096xf32> {mlc.scratch}) attributes {kernel} {
// CHECK: linalg.fill ins({{.*}}) outs(%[[S]] :
// CHECK: %[[MID:.*]] = memref.subview %[[S]]{{\[}}1{{\]}} [4094] [1]
// CHECK: linalg.generic {{.*}} ins(%[[X]] : {{.*}}) outs(%[[MID]] :
// CHECK: linalg.generic {{.*}} ins(%[[S]] : {{.*}}) outs(%[[OUT]] :
func.func @forward(%x: tensor<4094xf32>) -> tensor<4096xf32> {
  %e = tensor.empty() : tensor<4096xf32>
  %r = func.call @k(%x, %e) : (tensor<4094xf32>, tensor<4096xf32>) -> tensor<4096xf32>
  return %r : tensor<4096xf32>
}
func.func private @k(%x: tensor<4094xf32>, %out: tensor<4096xf32>) -> tensor<4096xf32> attributes {kernel} {
  %z = arith.constant 0.0 : f32
  %p = tensor.pad %x low[1] high[1] {
  ^bb0(%i: index):
    tensor.yield %z : f32
  } : tensor<4094xf32> to tensor<4096xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0 mod 64)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%p : tensor<4096xf32>) outs(%out : tensor<4096xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<4096xf32>
  return %r : tensor<4096xf32>
}

// -----

// Results of dynamic size: @output_dims says how large.

// CHECK: func.func @forward(%{{.*}}: memref<?x4xf32>, %{{.*}}: memref<?x4xf32>)
// CHECK: func.func @output_dims(%[[N:.*]]: index) -> index {
// CHECK: %[[M:.*]] = arith.addi %[[N]], %{{.*}} : index
// CHECK: func.return %[[M]] : index
func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %m = arith.addi %n, %c2 : index
  %e = tensor.empty(%m) : tensor<?x4xf32>
  %a = tensor.insert_slice %x into %e[0, 0] [%n, 4] [1, 1] : tensor<?x4xf32> into tensor<?x4xf32>
  %s = tensor.extract_slice %x[0, 0] [2, 4] [1, 1] : tensor<?x4xf32> to tensor<2x4xf32>
  %b = tensor.insert_slice %s into %a[%n, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<?x4xf32>
  return %b : tensor<?x4xf32>
}

// A kernel that takes and gives no tensors (a check that is left of a lookup whose result nobody wants) is called as it is.

// CHECK-LABEL: func.func @checked
// CHECK: func.call @only_checks() : () -> ()
// CHECK: func.func private @only_checks() attributes {kernel}
// CHECK: cf.assert
func.func @checked(%x: tensor<4xf32>) -> tensor<4xf32> {
  func.call @only_checks() : () -> ()
  func.return %x : tensor<4xf32>
}
func.func private @only_checks() attributes {kernel} {
  %ok = arith.constant true
  cf.assert %ok, "never"
  func.return
}

// -----

// What one trip hands on to the next is computed where it lies, and that is the out-parameter: nothing is copied.

// CHECK-LABEL: func.func @steps(
// CHECK-SAME: %[[X:.*]]: memref<8xf32>, %[[OUT:.*]]: memref<8xf32>)
// CHECK: func.call @next(%[[X]], %[[OUT]])
// CHECK: scf.for
// CHECK-NEXT: %[[T:.*]] = memref.alloc()
// CHECK-NEXT: func.call @next(%[[OUT]], %[[T]])
// CHECK-NEXT: func.call @next(%[[T]], %[[OUT]])
// CHECK-NEXT: }
// CHECK-NEXT: func.return
func.func private @next(%x: tensor<8xf32>, %o: tensor<8xf32>) -> tensor<8xf32> attributes {kernel} {
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]} ins(%x : tensor<8xf32>) outs(%o : tensor<8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %n = arith.negf %a : f32
    linalg.yield %n : f32
  } -> tensor<8xf32>
  return %r : tensor<8xf32>
}
func.func @steps(%x: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c5 = arith.constant 5 : index
  %e = tensor.empty() : tensor<8xf32>
  %first = func.call @next(%x, %e) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %last = scf.for %i = %c0 to %c5 step %c1 iter_args(%h = %first) -> (tensor<8xf32>) {
    %t = tensor.empty() : tensor<8xf32>
    %u = func.call @next(%h, %t) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    %f = tensor.empty() : tensor<8xf32>
    %n = func.call @next(%u, %f) : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    scf.yield %n : tensor<8xf32>
  }
  return %last : tensor<8xf32>
}
