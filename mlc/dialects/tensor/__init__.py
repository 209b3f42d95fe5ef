"""Extensions of and reference semantics for the upstream tensor dialect."""
