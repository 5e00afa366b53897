"""Step 3: who reads a Secret without any right to get it."""
