"""Architectures to train from scratch: one file an architecture, each with ``build(image, classes, width)``."""
