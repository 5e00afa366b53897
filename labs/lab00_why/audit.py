"""Step 12: who read it."""
