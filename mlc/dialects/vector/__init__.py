"""Extensions of and reference semantics for the upstream vector dialect."""
