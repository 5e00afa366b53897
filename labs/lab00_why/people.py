"""The people of lab 00: service accounts with exactly the rights that a step gives them.

`as_account` asks the API server as that account (kubectl's `--as`: the same
authorizer, the same answer as with the account's own token), `read_as` tells which Secrets'
values it got that way. No value is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kubernetes import client

from harness.lab.api import REQUEST_SECONDS, CommandFailed, LabContext
from labs.lab00_why.encoding import decoded, password_of


def user(lab: LabContext, account: str) -> str:
    """The name by which the API server knows a service account of this lab."""
    return f"system:serviceaccount:{lab.namespace}:{account}"


def allowed(
    lab: LabContext, account: str, verb: str, resource: str, name: str = "", namespace: str = ""
) -> bool:
    """What `kubectl auth can-i VERB RESOURCE/NAME --as ACCOUNT` answers."""
    resource, _, subresource = resource.partition("/")
    review = {
        "spec": {
            "user": user(lab, account),
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {
                "namespace": namespace or lab.namespace,
                "verb": verb,
                "resource": resource,
                "subresource": subresource,
                "name": name,
            },
        }
    }
    reviews: Any = client.AuthorizationV1Api(lab.kube.api)
    return bool(reviews.create_subject_access_review(review).status.allowed)


def as_account(
    lab: LabContext, account: str, command: str, *, stdin: str | None = None, namespace: str = ""
) -> str:
    """What kubectl prints when a service account of this lab runs `command`.

    A refusal is returned as its text, because here it is an answer like any other.
    """
    as_whom = f"--as {user(lab, account)} -n {namespace or lab.namespace}"
    try:
        return lab.run(f"kubectl {as_whom} {command}", stdin=stdin)
    except CommandFailed as refused:
        # With -o json an empty list comes first.
        _, found, reason = refused.output.partition("Error from server")
        return (found + reason or refused.output).strip()


def ask_as(lab: LabContext, account: str, shown: str, path: str) -> tuple[int, str]:
    """GET `path` from the API server as that account: the HTTP status and the text.

    The same request that the kubectl command `shown` makes, without starting a program.
    """
    lab.say(f"kubectl --as {user(lab, account)} -n {lab.namespace} {shown}")
    api = lab.kube.api
    headers = {"Accept": "application/json, */*", "Impersonate-User": user(lab, account)}
    request = api.param_serialize("GET", path, header_params=headers, auth_settings=["BearerToken"])
    answer = api.call_api(*request, _request_timeout=REQUEST_SECONDS)
    answer.read()
    text = answer.data.decode(errors="replace")
    return answer.status, text if answer.status < 400 else str(json.loads(text)["message"])


# The ways to read a Secret, as kubectl commands and as what follows /secrets in the address.
# A watch begins with all that is there, and goes on with what comes; this one ends at once.
WAYS = {
    "get app": ("get secret app -o yaml", "/app"),
    "get other": ("get secret other -o yaml", "/other"),
    "get late": ("get secret late -o yaml", "/late"),
    "list": ("get secrets -o yaml", ""),
    "list app": (
        "get secrets --field-selector metadata.name=app -o yaml",
        "?fieldSelector=metadata.name%3Dapp",
    ),
    # kubectl's own --watch lists first, which is another right.
    "watch": ("get --raw /api/v1/namespaces/…/secrets?watch=true", "?watch=true&timeoutSeconds=1"),
}


def read_as(lab: LabContext, account: str, way: str) -> tuple[set[str], str]:
    """The names of the Secrets whose values the account got, and the refusal, if any.

    A value counts when it is the one that the Secret of that name holds now.
    """
    shown, rest = WAYS[way]
    status, answer = ask_as(lab, account, shown, secrets_path(lab) + rest)
    if status != 200:
        return set(), f"{status}: {answer}"
    return {
        secret["metadata"]["name"]
        for secret in secrets_in(answer)
        if (value := decoded(secret)) and value == password_of(lab, secret["metadata"]["name"])
    }, ""


def secrets_path(lab: LabContext) -> str:
    """The address of this namespace's Secrets in the API."""
    return f"/api/v1/namespaces/{lab.namespace}/secrets"


def secrets_in(answer: str) -> Iterator[dict[str, Any]]:
    """Every Secret in an answer of the API: one object, a list, or the events of a watch."""
    decoder, position = json.JSONDecoder(), 0
    while position < len(answer):
        value, position = decoder.raw_decode(answer, position)
        yield from value["items"] if "items" in value else [value.get("object", value)]
        while answer[position : position + 1].isspace():
            position += 1
