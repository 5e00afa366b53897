"""Step 2: who can read a Secret, by RBAC."""
