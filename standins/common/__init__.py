"""What the stand-ins share: transports to Vault and Kubernetes, flags, logs, gRPC, Go's texts.

A stand-in imports from here and from itself; this package imports no stand-in.
"""
