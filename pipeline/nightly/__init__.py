"""Every night the listed recipes, each compared with the last result that was taken as its baseline.

``judge`` and ``noise`` are functions on values; ``night`` composes them with what touches files and processes.
"""
