// RUN: mlc-opt --cse %s | filecheck %s
// RUN: mlc-opt --pass-pipeline='builtin.module(func.func(cse,canonicalize))' %s | filecheck %s --check-prefix=PIPE
// RUN: not mlc-opt --csee %s 2>&1 | filecheck %s --check-prefix=ERR

// CHECK-LABEL: func.func @f
// CHECK: arith.addi
// CHECK-NOT: arith.addi
// PIPE-LABEL: func.func @f
// ERR: unknown flag or pass '--csee'
// ERR: did you mean --cse
func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  %1 = arith.addi %a, %a : i32
  %2 = arith.muli %0, %1 : i32
  func.return %2 : i32
}
