"""Lab 00: what Kubernetes does with a Secret, and what it does not do."""
