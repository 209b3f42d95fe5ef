"""Command-line tools: `mlc-opt` (passes over .mlir files) and `mlc` (models and artifacts). May import everything."""
