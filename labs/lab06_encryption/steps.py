"""Lab 06: encryption at rest. This is its table of contents."""

from __future__ import annotations

from labs.lab06_encryption.ciphers import other_ciphers
from labs.lab06_encryption.encrypt import encrypt_at_rest
from labs.lab06_encryption.kms import use_vault_transit
from labs.lab06_encryption.lab import encryption
from labs.lab06_encryption.outage import vault_goes_away
from labs.lab06_encryption.promise import what_it_does_not_do
from labs.lab06_encryption.rotation import rotate_the_key

encryption.sequence(
    encrypt_at_rest,
    other_ciphers,
    rotate_the_key,
    use_vault_transit,
    vault_goes_away,
    what_it_does_not_do,
)
