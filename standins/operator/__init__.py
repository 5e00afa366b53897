"""A stand-in for the Vault Secrets Operator, for labs where upstream's image cannot be had.

It serves the same custom resources (group secrets.hashicorp.com/v1beta1), conditions and
events. Decisions live in plain async functions behind the clients of `standins.common` for
Kubernetes and Vault; kopf only feeds them with watch events. It is not for production, and
it covers what README.md lists, no more.
"""
