"""Step 8: KMS v2 with Vault Transit."""
