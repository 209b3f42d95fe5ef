// RUN: mlc-opt --verify-diagnostics --split-input-file --cse %s
// RUN: not mlc-opt --verify-diagnostics --cse %s 2>&1 | filecheck %s
// CHECK: line 12: expected error "where it is not defined yet" was not produced

func.func @fine(%a: i32) -> i32 {
  func.return %a : i32
}

// -----

func.func @use_before_def(%a: i32) -> i32 {
  // expected-error@+1 {{where it is not defined yet}}
  %0 = arith.addi %a, %1 : i32
  %1 = arith.addi %a, %a : i32
  func.return %0 : i32
}

// -----

func.func @unknown_op(%a: i32) -> i32 {
  // expected-error@below {{arith.addd is not registered}}
  %0 = arith.addd %a, %a : i32
  func.return %0 : i32
}

// -----

func.func @missing_callee(%a: i32) -> i32 {
  %0 = func.call @nowhere(%a) : (i32) -> i32  // expected-error {{could not be found in symbol table}}
  func.return %0 : i32
}
