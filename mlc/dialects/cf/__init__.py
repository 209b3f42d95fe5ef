"""Extensions of and reference semantics for the upstream cf dialect."""
