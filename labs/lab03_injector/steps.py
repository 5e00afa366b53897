"""Lab 03: the Agent injector. This is its table of contents."""

from __future__ import annotations

from labs.lab03_injector.agent_cache import ask_the_agent
from labs.lab03_injector.agents import before_beside_both
from labs.lab03_injector.cost import what_it_costs
from labs.lab03_injector.database import database_user
from labs.lab03_injector.files import files_in_memory
from labs.lab03_injector.jobs import jobs_that_end
from labs.lab03_injector.lab import injector
from labs.lab03_injector.mutation import see_the_mutation
from labs.lab03_injector.outage import webhook_down
from labs.lab03_injector.refusals import be_refused
from labs.lab03_injector.restricted import restricted_namespace
from labs.lab03_injector.shutdown import revoke_at_the_end
from labs.lab03_injector.templates import templates
from labs.lab03_injector.tls import which_vault
from labs.lab03_injector.trust import let_pods_in

injector.sequence(
    let_pods_in,
    see_the_mutation,
    before_beside_both,
    files_in_memory,
    templates,
    database_user,
    ask_the_agent,
    which_vault,
    jobs_that_end,
    revoke_at_the_end,
    restricted_namespace,
    be_refused,
    webhook_down,
    what_it_costs,
)
