"""A stand-in for HashiCorp's Vault Agent injector: a mutating webhook for labs.

It adds a Vault Agent to pods that ask for one by annotation, with upstream's
annotations, defaults, patch and agent configuration (vault-k8s v1.7.6). It serves
where upstream's image cannot be had; README.md lists where the two differ. It is not
for production.
"""
