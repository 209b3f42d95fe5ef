"""Extensions of and reference semantics for the upstream func dialect."""
