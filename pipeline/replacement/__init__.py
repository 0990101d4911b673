"""Replacement of what the KPU cannot run: exact where possible, learned where not; one file of ``rules/`` a rule."""
