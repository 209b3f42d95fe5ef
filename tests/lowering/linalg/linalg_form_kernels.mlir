// RUN: mlc-opt --split-input-file -p linalg-form-kernels %s | filecheck %s
// RUN: mlc-opt --split-input-file -p linalg-form-kernels --remarks %s 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK: [linalg-form-kernels] missed: func.call: not in one kernel with what makes its operand (others read the value, too)

#id = affine_map<(d0, d1) -> (d0, d1)>
#rows = affine_map<(d0, d1) -> (d0)>
#row = affine_map<(d0, d1) -> (d1)>
#a = affine_map<(d0, d1, d2) -> (d0, d2)>
#b = affine_map<(d0, d1, d2) -> (d2, d1)>
#c = affine_map<(d0, d1, d2) -> (d0, d1)>

// Two equal products with their bias are one kernel; both write into the concatenation, where the second reads the first.
// CHECK-LABEL: func.func @forward
// CHECK-SAME: (%x: tensor<4x8xf32>, %b: tensor<8xf32>)
// CHECK: %[[W:.*]] = arith.constant dense_resource<w>
// CHECK: %[[D0:.*]] = tensor.empty() : tensor<8x8xf32>
// CHECK: %[[S0:.*]] = tensor.extract_slice %[[D0]][0, 0] [4, 8] [1, 1]
// CHECK: %[[R0:.*]] = func.call @[[K:matmul_4x8_8x8_add_0]](%x, %[[W]], %b, %[[S0]])
// CHECK: %[[D1:.*]] = tensor.insert_slice %[[R0]] into %[[D0]][0, 0] [4, 8] [1, 1]
// CHECK: %[[S1:.*]] = tensor.extract_slice %[[D1]][4, 0] [4, 8] [1, 1]
// CHECK: %[[V0:.*]] = tensor.extract_slice %[[D1]][0, 0] [4, 8] [1, 1]
// CHECK: %[[R1:.*]] = func.call @[[K]](%[[V0]], %[[W]], %b, %[[S1]])
// CHECK: %[[D2:.*]] = tensor.insert_slice %[[R1]] into %[[D1]][4, 0] [4, 8] [1, 1]
// CHECK: func.return %[[D2]]
// CHECK: func.func private @matmul_4x8_8x8_add_0(%{{.*}}: tensor<4x8xf32>, %{{.*}}: tensor<8x8xf32>, %{{.*}}: tensor<8xf32>, %[[OUT:.*]]: tensor<4x8xf32>) -> tensor<4x8xf32> attributes {kernel} {
// CHECK: %[[F:.*]] = linalg.fill ins(%{{.*}} : f32) outs(%[[OUT]] : tensor<4x8xf32>)
// CHECK: %[[M:.*]] = linalg.generic {{.*}} outs(%[[F]] : tensor<4x8xf32>)
// CHECK: %[[B:.*]] = linalg.generic {{.*}} outs(%[[M]] : tensor<4x8xf32>)
// CHECK: func.return %[[B]]
func.func @forward(%x: tensor<4x8xf32>, %b: tensor<8xf32>) -> tensor<8x8xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x8xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %m0 = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.mulf %p, %q : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<4x8xf32>
  %r0 = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%m0, %b : tensor<4x8xf32>, tensor<8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %m1 = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%r0, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.mulf %p, %q : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<4x8xf32>
  %r1 = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%m1, %b : tensor<4x8xf32>, tensor<8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %cat = tensor.concat dim(0) %r0, %r1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  return %cat : tensor<8x8xf32>
}

// -----

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#c = affine_map<(m, n, k) -> (m, n)>

// A product that goes on with the sums of another is one kernel with it: the sums need not go through memory.
// CHECK-LABEL: func.func @one_sum
// CHECK-COUNT-1: func.call
// CHECK: func.return
// CHECK: func.func private
// CHECK: %[[S:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<4x8xf32>, tensor<8x8xf32>)
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<4x2xf32>, tensor<2x8xf32>) outs(%[[S]] : tensor<4x8xf32>)
// CHECK: func.return
func.func @one_sum(%x: tensor<4x8xf32>, %h: tensor<4x2xf32>) -> tensor<4x8xf32> {
  %w = arith.constant dense_resource<w> : tensor<8x8xf32>
  %v = arith.constant dense_resource<v> : tensor<2x8xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %m = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.mulf %p, %q : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<4x8xf32>
  %r = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%h, %v : tensor<4x2xf32>, tensor<2x8xf32>) outs(%m : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.mulf %p, %q : f32
    %t = arith.addf %o, %s : f32
    linalg.yield %t : f32
  } -> tensor<4x8xf32>
  return %r : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
#rows = affine_map<(d0, d1) -> (d0)>

// A row-wise group is one kernel; its exponentials live in the result. What is returned twice is copied (here by the same kernel).
// CHECK-LABEL: func.func @softmax
// CHECK: %{{.*}}, %{{.*}} = func.call @rows_4_sub_exp_add_0(%x, %{{.*}}, %{{.*}})
// CHECK: func.return
// CHECK: func.func private @rows_4_sub_exp_add_0(%{{.*}}: tensor<4x8xf32>, %[[OUT:.*]]: tensor<4x8xf32>, %{{.*}}: tensor<4x8xf32>)
// CHECK: linalg.generic {{.*}} outs(%[[OUT]] : tensor<4x8xf32>)
// CHECK: math.exp
func.func @softmax(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %low = arith.constant 0xff800000 : f32
  %zero = arith.constant 0.0 : f32
  %er = tensor.empty() : tensor<4xf32>
  %e = tensor.empty() : tensor<4x8xf32>
  %fm = linalg.fill ins(%low : f32) outs(%er : tensor<4xf32>) -> tensor<4xf32>
  %fs = linalg.fill ins(%zero : f32) outs(%er : tensor<4xf32>) -> tensor<4xf32>
  %m = linalg.generic {indexing_maps = [#id, #rows], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<4x8xf32>) outs(%fm : tensor<4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.maximumf %p, %o : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  %p = linalg.generic {indexing_maps = [#id, #rows, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %m : tensor<4x8xf32>, tensor<4xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %d = arith.subf %p, %q : f32
    %s = math.exp %d : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %t = linalg.generic {indexing_maps = [#id, #rows], iterator_types = ["parallel", "reduction"]} ins(%p : tensor<4x8xf32>) outs(%fs : tensor<4xf32>) {
  ^bb0(%p1: f32, %o: f32):
    %s = arith.addf %p1, %o : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  %r = linalg.generic {indexing_maps = [#id, #rows, #id], iterator_types = ["parallel", "parallel"]} ins(%p, %t : tensor<4x8xf32>, tensor<4xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%p1: f32, %q: f32, %o: f32):
    %s = arith.divf %p1, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  return %r, %r : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

// Kernels are formed inside control flow; sizes of dynamic results are known where the kernel is called.
// CHECK-LABEL: func.func @loop
// CHECK: scf.for
// CHECK: %[[E:.*]] = tensor.empty(%{{.*}}) : tensor<?xf32>
// CHECK: func.call @elementwise_d_add_0(%{{.*}}, %{{.*}}, %[[E]])
// CHECK: scf.yield
func.func @loop(%x: tensor<?xf32>, %n: index) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %d = tensor.dim %x, %c0 : tensor<?xf32>
  %r = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %x) -> (tensor<?xf32>) {
    %e = tensor.empty(%d) : tensor<?xf32>
    %s = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%acc, %x : tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<?xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %t = arith.addf %p, %q : f32
      linalg.yield %t : f32
    } -> tensor<?xf32>
    scf.yield %s : tensor<?xf32>
  }
  return %r : tensor<?xf32>
}

// -----

// Only the border of padding is filled, and the kernel that makes the middle writes into it.
// CHECK-LABEL: func.func @pad
// CHECK: %[[D:.*]] = tensor.empty() : tensor<10xf32>
// CHECK: tensor.extract_slice %[[D]][1] [8] [1]
// CHECK: func.call @elementwise_8_add_0
// CHECK: func.call @fill_1_0
// CHECK: func.call @fill_1_0
// CHECK-NOT: func.call @copy
// CHECK: func.return
func.func @pad(%x: tensor<8xf32>) -> tensor<10xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%p: f32, %o: f32):
    %t = arith.addf %p, %p : f32
    linalg.yield %t : f32
  } -> tensor<8xf32>
  %r = tensor.pad %s low[1] high[1] {
  ^bb0(%i: index):
    tensor.yield %zero : f32
  } : tensor<8xf32> to tensor<10xf32>
  return %r : tensor<10xf32>
}

// -----

// A concatenation that grows: one destination, the shorter one is its beginning.
// CHECK-LABEL: func.func @growing
// CHECK: tensor.empty() : tensor<6xf32>
// CHECK-NOT: tensor.empty() : tensor<4xf32>
// CHECK: func.call @copy_2_0
// CHECK: func.call @copy_2_0
// CHECK: tensor.extract_slice %{{.*}}[0] [4] [1]
// CHECK: func.call @rows
// CHECK: func.call @copy_2_0
// CHECK: func.return
func.func @growing(%a: tensor<2xf32>, %b: tensor<2xf32>, %c: tensor<2xf32>) -> (tensor<6xf32>, tensor<f32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %0 = tensor.concat dim(0) %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<4xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>], iterator_types = ["reduction"]} ins(%0 : tensor<4xf32>) outs(%f : tensor<f32>) {
  ^bb0(%p: f32, %o: f32):
    %t = arith.addf %p, %o : f32
    linalg.yield %t : f32
  } -> tensor<f32>
  %1 = tensor.concat dim(0) %a, %b, %c : (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<6xf32>
  return %1, %s : tensor<6xf32>, tensor<f32>
}

// -----

// A loop over single elements is one kernel; it starts in its destination, which %x is copied into.
// CHECK-LABEL: func.func @running
// CHECK-NOT: scf.for
// CHECK: func.call @for_4_0
// CHECK-NOT: scf.for
// CHECK: func.return
// CHECK: func.func private @for_4_0(%{{.*}}: tensor<4xf32>, %[[OUT:.*]]: tensor<4xf32>) -> tensor<4xf32>
// CHECK: %[[START:.*]] = linalg.generic
// CHECK-SAME: outs(%[[OUT]] : tensor<4xf32>)
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[START]],
// CHECK: tensor.insert
func.func @running(%x: tensor<4xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %zero = arith.constant 0.0 : f32
  %r:2 = scf.for %i = %c1 to %c4 step %c1 iter_args(%t = %x, %sum = %zero) -> (tensor<4xf32>, f32) {
    %v = tensor.extract %t[%i] : tensor<4xf32>
    %s = arith.addf %sum, %v : f32
    %n = tensor.insert %s into %t[%i] : tensor<4xf32>
    scf.yield %n, %s : tensor<4xf32>, f32
  }
  return %r#0 : tensor<4xf32>
}

// -----

// A loop that starts from a fill has it in its kernel, in the destination.
// CHECK-LABEL: func.func @counting
// CHECK-NOT: linalg.generic
// CHECK: func.return
// CHECK: func.func private @for_4_0(%{{.*}}: tensor<3xi64>, %[[OUT:.*]]: tensor<4xf32>) -> tensor<4xf32>
// CHECK: %[[ZERO:.*]] = linalg.fill {{.*}} outs(%[[OUT]] : tensor<4xf32>)
// CHECK-NOT: linalg.generic
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[ZERO]])
func.func @counting(%at: tensor<3xi64>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %r = scf.for %i = %c0 to %c3 step %c1 iter_args(%t = %f) -> (tensor<4xf32>) {
    %k = tensor.extract %at[%i] : tensor<3xi64>
    %j = arith.index_cast %k : i64 to index
    %v = tensor.extract %t[%j] : tensor<4xf32>
    %s = arith.addf %v, %one : f32
    %n = tensor.insert %s into %t[%j] : tensor<4xf32>
    scf.yield %n : tensor<4xf32>
  }
  return %r : tensor<4xf32>
}

// -----

// A recurrent cell: the new state is written over the old one, the row into the whole and where it is carried.
// CHECK-LABEL: func.func @cell
// CHECK: scf.for {{.*}} iter_args(%[[C:.*]] = %{{.*}}, %[[H:.*]] = %{{.*}}, %[[ALL:.*]] = %{{.*}})
// CHECK: %[[OLD:.*]] = tensor.expand_shape %[[C]] {{.*}} output_shape [2, 4]
// CHECK-NEXT: %[[NEW:.*]] = func.call @elementwise_2x4_mul_add_0(%{{.*}}, %[[OLD]])
// CHECK-NEXT: %[[S:.*]] = tensor.extract_slice %[[ALL]][%{{.*}}, 0] [1, 8] [1, 1]
// CHECK-NEXT: %[[T:.*]] = tensor.collapse_shape %[[S]]
// CHECK-NEXT: %[[ROW:.*]] = tensor.expand_shape %[[T]]
// CHECK-NEXT: %[[OWN:.*]] = tensor.empty() : tensor<2x4xf32>
// CHECK-NEXT: %[[R:.*]], %[[R2:.*]] = func.call @elementwise_2x4_tanh_0(%[[NEW]], %[[OWN]], %[[ROW]])
// CHECK-NOT: call @copy
// CHECK: scf.yield
// CHECK: func.func private @elementwise_2x4_mul_add_0(%{{.*}}: tensor<2x4xf32>, %[[STATE:.*]]: tensor<2x4xf32>)
// CHECK: outs(%[[STATE]] : tensor<2x4xf32>)
func.func @cell(%x: tensor<2x4xf32>, %c0: tensor<8xf32>, %all0: tensor<3x8xf32>) -> (tensor<8xf32>, tensor<2x4xf32>, tensor<3x8xf32>) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %three = arith.constant 3 : index
  %r:3 = scf.for %i = %zero to %three step %one iter_args(%c = %c0, %h = %x, %all = %all0) -> (tensor<8xf32>, tensor<2x4xf32>, tensor<3x8xf32>) {
    %old = tensor.expand_shape %c [[0, 1]] output_shape [2, 4] : tensor<8xf32> into tensor<2x4xf32>
    %e = tensor.empty() : tensor<2x4xf32>
    %new = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%h, %old : tensor<2x4xf32>, tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %m, %p : f32
      linalg.yield %s : f32
    } -> tensor<2x4xf32>
    %e2 = tensor.empty() : tensor<2x4xf32>
    %hn = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%new : tensor<2x4xf32>) outs(%e2 : tensor<2x4xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = math.tanh %p : f32
      linalg.yield %t : f32
    } -> tensor<2x4xf32>
    %flat = tensor.collapse_shape %hn [[0, 1]] : tensor<2x4xf32> into tensor<8xf32>
    %row = tensor.expand_shape %flat [[0, 1]] output_shape [1, 8] : tensor<8xf32> into tensor<1x8xf32>
    %next = tensor.insert_slice %row into %all[%i, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<3x8xf32>
    %cn = tensor.collapse_shape %new [[0, 1]] : tensor<2x4xf32> into tensor<8xf32>
    scf.yield %cn, %hn, %next : tensor<8xf32>, tensor<2x4xf32>, tensor<3x8xf32>
  }
  return %r#0, %r#1, %r#2 : tensor<8xf32>, tensor<2x4xf32>, tensor<3x8xf32>
}
