"""The training and distillation loop."""
