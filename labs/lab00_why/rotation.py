"""Step 7: rotating the key in the right order, and dropping it too early."""
