"""Step 11: how soon a changed Secret reaches a process."""
