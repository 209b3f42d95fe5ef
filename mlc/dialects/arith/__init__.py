"""Extensions of and reference semantics for the upstream arith dialect."""
