"""Extensions of and reference semantics for the upstream scf dialect."""
