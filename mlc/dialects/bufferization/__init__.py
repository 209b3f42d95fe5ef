"""Extensions of and reference semantics for the upstream bufferization dialect."""
