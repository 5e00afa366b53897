"""Step 4: the raw bytes of a Secret in etcd."""
