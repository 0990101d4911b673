"""Where the data set that ships with kpufit lies."""

from __future__ import annotations

from pathlib import Path

MINI_NAME = "fashion-mnist-mini"
MINI_FILE = Path(__file__).with_name("fashion_mnist_mini.npz")
MINI_MANIFEST = Path(__file__).with_name("fashion_mnist_mini.json")
