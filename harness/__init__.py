"""The library that all labs are written with.

A lab author needs three names: `Lab`, `expect` and the `lab` object that each step
receives (`harness.lab.context.LabContext`). Everything else here brings the environment
up, runs the steps in their four readings (tour, notebook, exercise, pytest) and
explains what went wrong.
"""

from harness.lab.steps import Lab, expect

__all__ = ["Lab", "expect"]
