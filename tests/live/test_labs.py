"""The proofs of the labs, in the environment of these tests (harness.proving.test_labs)."""

from __future__ import annotations

from harness.proving.test_labs import test_step

__all__ = ["test_step"]
