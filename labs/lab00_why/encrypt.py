"""Step 5: encryption at rest; what it changes in etcd and when."""
