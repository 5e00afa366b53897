"""A Kubernetes KMS v2 provider on Vault Transit, for lab 06.

kube-apiserver hands it the seed of its data keys; Transit wraps and unwraps that seed and
never lets the key out. Nothing upstream is replaced by it. See README.md.
"""
