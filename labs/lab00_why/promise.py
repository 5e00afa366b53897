"""Step 10: what encryption at rest does not do, and the way back."""
