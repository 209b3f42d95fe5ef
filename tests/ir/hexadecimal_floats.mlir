// A float in hexadecimal is its bits, in a dense literal as everywhere; what is printed reads back as the same.
// RUN: mlc-opt --run %s | filecheck %s
// RUN: mlc-opt %s | filecheck %s --check-prefix=TEXT

// CHECK: %0 = float32[]
// CHECK-NEXT: -inf
// CHECK: %1 = float32[3]
// CHECK-NEXT: [ 1. nan -inf]
// CHECK: %2 = float64[1]
// CHECK-NEXT: [-inf]
// CHECK: %3 = float16[]
// CHECK-NEXT: inf
// CHECK: %4 = float32[]
// CHECK-NEXT: -inf
// CHECK: %5 = int64[]
// CHECK-NEXT: 16

// TEXT: dense<0xff800000> : tensor<f32>
// TEXT: dense<[1.000000e+00, 0x7fc00000, 0xff800000]> : tensor<3xf32>
func.func @forward() -> (tensor<f32>, tensor<3xf32>, tensor<1xf64>, tensor<f16>, tensor<bf16>, tensor<i64>) {
  %0 = arith.constant dense<0xFF800000> : tensor<f32>
  %1 = arith.constant dense<[1.0, 0x7FC00000, 0xFF800000]> : tensor<3xf32>
  %2 = arith.constant dense<[0xFFF0000000000000]> : tensor<1xf64>
  %3 = arith.constant dense<0x7C00> : tensor<f16>
  %4 = arith.constant dense<0xFF80> : tensor<bf16>
  %5 = arith.constant dense<0x10> : tensor<i64>
  return %0, %1, %2, %3, %4, %5 : tensor<f32>, tensor<3xf32>, tensor<1xf64>, tensor<f16>, tensor<bf16>, tensor<i64>
}
