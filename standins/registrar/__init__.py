"""A stand-in for node-driver-registrar: tells kubelet that a CSI driver is here.

Kubelet watches a folder for sockets and asks each who it is; the answer names the
driver and the socket that kubelet shall use. This also answers the driver's liveness
check, which upstream leaves to a third container.
"""
