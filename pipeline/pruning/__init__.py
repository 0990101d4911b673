"""Structured pruning: groups, their importance, and channel counts solved from bytes."""
