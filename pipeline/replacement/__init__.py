"""Replacements for what the KPU cannot run: one module a replacement."""
