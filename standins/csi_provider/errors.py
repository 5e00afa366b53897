"""What the provider answers instead of files.

Every one of these reaches the pod as a FailedMount event, so the text is all that a
person gets to see. It never contains a secret, a token or a file's content.
"""

from __future__ import annotations


class ConfigError(ValueError):
    """The mount request is wrong as it stands: parameters, objects, permission."""


class MountError(Exception):
    """A well-formed request could not be served; `str()` names the object and the cause."""
