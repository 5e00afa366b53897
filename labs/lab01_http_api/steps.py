"""Lab 01: the raw HTTP API. This is its table of contents."""

from __future__ import annotations

from labs.lab01_http_api.application import application
from labs.lab01_http_api.audit_trail import read_the_audit_log
from labs.lab01_http_api.crypto import certify, encrypt_as_a_service
from labs.lab01_http_api.database import database_users
from labs.lab01_http_api.hello import say_hello
from labs.lab01_http_api.kv import write_secret
from labs.lab01_http_api.lab import http_api
from labs.lab01_http_api.login import pod_reads
from labs.lab01_http_api.no_reviewer import own_token_reviews
from labs.lab01_http_api.oidc import trust_the_issuer
from labs.lab01_http_api.policies import allow_one_path
from labs.lab01_http_api.refusals import be_refused
from labs.lab01_http_api.tokens import token_life
from labs.lab01_http_api.trust import trust_cluster
from labs.lab01_http_api.wrapping import wrap_response

http_api.sequence(
    say_hello,
    write_secret,
    allow_one_path,
    trust_cluster,
    pod_reads,
    be_refused,
    own_token_reviews,
    trust_the_issuer,
    token_life,
    wrap_response,
    database_users,
    encrypt_as_a_service,
    certify,
    application,
    read_the_audit_log,
)
