"""A stand-in for HashiCorp's Vault CSI provider, for labs that cannot have the real one.

It serves v1alpha1.CSIDriverProvider on the provider's socket and understands the same
SecretProviderClass parameters and objects. See README.md for what differs and why.
"""

# The release whose interface this covers; semver build metadata says what it is.
VERSION = "1.7.4+kube-vault-labs.standin"
RUNTIME_NAME = "vault-csi-provider"
