"""The page checks speak when they fail."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("pages")
