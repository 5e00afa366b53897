"""Lab 05: five ways into one pod. This is its table of contents."""

from __future__ import annotations

from labs.lab05_five_ways.choose import which_one
from labs.lab05_five_ways.csi import by_csi
from labs.lab05_five_ways.http_api import by_http_api
from labs.lab05_five_ways.injector import by_injector
from labs.lab05_five_ways.lab import five_ways
from labs.lab05_five_ways.leaks import map_the_leaks
from labs.lab05_five_ways.measure import measure
from labs.lab05_five_ways.operator import by_operator
from labs.lab05_five_ways.outages import when_something_is_away
from labs.lab05_five_ways.plain import by_plain_secret
from labs.lab05_five_ways.scale import many_at_once
from labs.lab05_five_ways.shop import prepare_the_shop

five_ways.sequence(
    prepare_the_shop,
    by_plain_secret,
    by_http_api,
    by_csi,
    by_injector,
    by_operator,
    measure,
    map_the_leaks,
    which_one,
    when_something_is_away,
    many_at_once,
)
