"""Lab 06: encryption at rest, for people who run clusters."""
