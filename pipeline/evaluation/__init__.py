"""Accuracy, per-layer error and cross-checks."""
