"""One link: what a role takes away from the tokens that it grants.

A log-in succeeds, and the token is still of no use: it is a batch token, counts its uses, is
bound to addresses, or ends at once. Vault's answer to the next request is "permission denied" or
"bad token" (API, auth/kubernetes, "Create/Update role").
"""

from __future__ import annotations

import ipaddress

from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding

LIMITS = "token of the role"
SHORT_SECONDS = 5


def tokens_are_of_use(chain: Chain) -> Finding | None:
    """The role's tokens are service tokens that live a while, for any number of uses."""
    role = chain.role
    if not role:
        return None
    name = chain.path.role
    uses, life = int(role.get("token_num_uses") or 0), int(role.get("token_ttl") or 0)
    if role.get("token_type") == "batch":
        return Finding(
            LIMITS,
            False,
            f"the role {name} grants batch tokens: they have no accessor, and nobody can renew, "
            "look up or revoke one",
            "token_type default is a service token",
            commands.role(chain, **{"token_type": "default"}),
        )
    if uses:
        return Finding(
            LIMITS,
            False,
            f"the role {name} has token_num_uses {uses}: its tokens end after {uses} requests",
            "0 is any number of uses",
            commands.role(chain, token_num_uses=0),
        )
    if 0 < life < SHORT_SECONDS:
        return Finding(
            LIMITS,
            False,
            f"the role {name} has token_ttl {life}: its tokens end after {life} s",
            "take minutes",
            commands.role(chain, **{"token_ttl": "15m"}),
        )
    outside = _not_allowed_from(chain)
    if outside:
        bound = ", ".join(map(str, role["token_bound_cidrs"]))
        return Finding(
            LIMITS,
            False,
            f"the role {name} has token_bound_cidrs {bound}: pods come from {outside}",
            "pods reach this Vault under the node's address",
            commands.role(chain, token_bound_cidrs=""),
        )
    return Finding(LIMITS, True, "service tokens, for any number of uses")


def _not_allowed_from(chain: Chain) -> str:
    """The node's address when the role's CIDRs leave it out; "" otherwise."""
    bound = chain.role.get("token_bound_cidrs") or []
    if not bound:
        return ""
    networks = [ipaddress.ip_network(str(one), strict=False) for one in bound]
    for node in chain.nodes:
        for entry in (node.get("status") or {}).get("addresses") or []:
            if entry["type"] == "InternalIP":
                address = ipaddress.ip_address(entry["address"])
                return "" if any(address in one for one in networks) else str(address)
    return ""
