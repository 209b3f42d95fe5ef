"""Extensions of and reference semantics for the upstream ub dialect."""
