"""What is measured against peers: ``python -m benchmarks.NAME --json``; each figure with the command that made it."""
