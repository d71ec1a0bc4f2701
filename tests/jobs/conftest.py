"""What tests with chance in them start from."""

from __future__ import annotations

import os
import secrets

import pytest


@pytest.fixture
def seed() -> int:
    """Printed, and so shown of a test that fails; PORTRAIT_TEST_SEED brings it back."""
    found = int(os.environ.get("PORTRAIT_TEST_SEED") or secrets.randbelow(10**6))
    print(f"PORTRAIT_TEST_SEED={found}")  # noqa: T201
    return found
