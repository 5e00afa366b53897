"""Step 13: why Vault, as a table made of what was measured."""
