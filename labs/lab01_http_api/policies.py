"""Step 3: policies, and what the two refusals 403 and 404 tell."""

from __future__ import annotations

from typing import Any

from harness import expect
from harness.lab.api import LabContext, LoginPath
from labs.lab01_http_api.lab import http_api


@http_api.step(
    "Allow exactly one path",
    minutes=8,
    goals=[
        "there is a policy lab01-app",
        "there is a policy lab01-team",
        "there is a policy lab01-trap",
        "lab01-app allows to read lab01-kv/data/app, and only to read",
        "it does not allow lab01-kv/data/other",
        "it does not allow lab01-kv/metadata/app",
        "a path it does not name: 403, although nothing is there",
        "a path that may be read but is empty: 404",
        "the team may list its folder",
        "lab01-trap, without data/, gives 403 for the same secret",
    ],
    answer="403. The policy names the path without `data/`, which is not the path that the API "
    "has.",
    hints=[
        "A policy names the path of the request, without /v1/. Which path did step 2 write the "
        "secret to? `vault policy read $NAMESPACE-app` shows what you wrote.",
        'Reading is the capability "read", listing names is "list". Names of secrets are listed '
        "below metadata/, their values are read below data/. A * at the end stands for all that "
        "follows.",
        'path "$NAMESPACE-kv/data/app" { capabilities = ["read"] }; for the team "read" on '
        '"$NAMESPACE-kv/data/team/*" and "list" on "$NAMESPACE-kv/metadata/team/*"; the policy '
        "trap names $NAMESPACE-kv/app",
    ],
)
def allow_one_path(lab: LabContext) -> None:
    """
    A **policy** says what a token may do at which path; what no policy names is refused.
    The path in a policy is the path of the request. With KV version 2 it holds `data/`:
    leaving that out is the most common mistake with Vault, and it gives a plain 403.

    Write three policies: one for exactly one secret, one for a team's folder, and one with
    the mistake. To *list* names is a capability of its own, at another path: `metadata/`.
    A policy is a text; `jq -Rs` wraps it in JSON.

    Then ask with a token of each (an *orphan*: it has no parent token; step 9 is about
    parents). See how the status differs. **403** says "your policies
    do not name this path", whether or not there is something. You learn by **404** that
    nothing is there only if you may read the path.

    *Before you run the second cell: which status will the policy `trap` get for the secret?*
    """
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
jq -Rs '{policy: .}' <<EOF | api -X PUT $VAULT_ADDR/v1/sys/policies/acl/$NAMESPACE-app -d @-
path "$NAMESPACE-kv/data/app" { capabilities = ["read"] }  #?(data/app) the path of the request
EOF
jq -Rs '{policy: .}' <<EOF | api -X PUT $VAULT_ADDR/v1/sys/policies/acl/$NAMESPACE-team -d @-
path "$NAMESPACE-kv/data/team/*" { capabilities = ["read"] }
path "$NAMESPACE-kv/metadata/team/*" { capabilities = ["list"] }  #?(list) to see the names
EOF
jq -Rs '{policy: .}' <<EOF | api -X PUT $VAULT_ADDR/v1/sys/policies/acl/$NAMESPACE-trap -d @-
path "$NAMESPACE-kv/app" { capabilities = ["read"] }
EOF
api -X LIST $VAULT_ADDR/v1/sys/policies/acl | jq -c .data.keys
""")
    lab.sh(r"""
api() { curl -sS --fail-with-body --cacert "$VAULT_CACERT" -H "X-Vault-Token: $VAULT_TOKEN" "$@"; }
for policy in app team trap; do
  token=$(api $VAULT_ADDR/v1/auth/token/create-orphan -d @- <<EOF | jq -r .auth.client_token
{"policies": ["$NAMESPACE-$policy"], "no_default_policy": true, "ttl": "1m"}
EOF
  )
  echo "With the policy $NAMESPACE-$policy:"
  for path in data/app data/missing data/team/missing; do
    curl -sS --cacert "$VAULT_CACERT" -H "X-Vault-Token: $token" -o /dev/null \
      -w "  %{http_code}  read $NAMESPACE-kv/$path\n" $VAULT_ADDR/v1/$NAMESPACE-kv/$path
  done
done
""")


@allow_one_path.check
def _(lab: LabContext) -> None:
    known = lab.http.list("/v1/sys/policies/acl").json()["data"]["keys"]
    for name in ("app", "team", "trap"):
        expect(
            lab.path(name) in known,
            f"there is a policy {lab.path(name)}",
            found=[policy for policy in known if policy.startswith(lab.path(""))],
        )
    app, team, trap = (_ask_as(lab, name) for name in ("app", "team", "trap"))
    read = lab.path("kv", "data", "app")
    expect(
        app("capabilities", read) == ["read"],
        f"{lab.path('app')} allows to read {read}, and only to read",
        found=app("capabilities", read),
        hint="the path in the policy is that of the request: with data/ after the mount",
    )
    for beside in (lab.path("kv", "data", "other"), lab.path("kv", "metadata", "app")):
        expect(
            app("capabilities", beside) == ["deny"],
            f"it does not allow {beside}",
            found=app("capabilities", beside),
            hint="a * at the end of a path allows more than one secret",
        )
    expect(app("get", read) == 200, "reading that secret with it: 200", found=app("get", read))
    missing = lab.path("kv", "data", "missing")
    expect(app("get", missing) == 403, "a path it does not name: 403, although nothing is there")
    missing = lab.path("kv", "data", "team/missing")
    expect(team("get", missing) == 404, "a path that may be read but is empty: 404")
    folder = lab.path("kv", "metadata", "team/")
    expect(team("list", folder) in (200, 404), "the team may list its folder")
    expect(app("list", folder) == 403, "to read a secret does not include to list names: 403")
    expect(
        trap("get", read) == 403,
        f"{lab.path('trap')}, without data/, gives 403 for the same secret",
        found=trap("get", read),
        hint=f"the mistake names {lab.path('kv', 'app')}",
    )


@allow_one_path.diagnosis
def _(lab: LabContext) -> LoginPath:
    return LoginPath(policies=(lab.path("app"),), secret=lab.path("kv", "data", "app"))


def _ask_as(lab: LabContext, policy: str) -> Any:
    """A function that asks Vault with a token that has nothing but this policy.

    The token lives a minute and is never shown.
    """
    made = lab.http.post(
        "/v1/auth/token/create-orphan",
        json={"policies": [lab.path(policy)], "no_default_policy": True, "ttl": "1m"},
    ).json()["auth"]["client_token"]

    def ask(what: str, path: str) -> Any:
        if what == "capabilities":
            asked = {"token": made, "paths": [path]}
            return lab.http.post("/v1/sys/capabilities", json=asked).json()["data"][path]
        request = {"get": lab.http.get, "list": lab.http.list}[what]
        return request(f"/v1/{path}", token=made, allow={403, 404}).status_code

    return ask
