"""Step 9: Vault goes away: what still works, and for how long."""
