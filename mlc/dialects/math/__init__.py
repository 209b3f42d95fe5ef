"""Extensions of and reference semantics for the upstream math dialect."""
