"""The configuration a Vault Agent is started with, as JSON.

One agent runs before the application and exits (`init`), one stays beside it; both get
the same configuration but for a few lines. Fields that are empty are left out, so that
the agent's own defaults hold.
Source: hashicorp/vault-k8s v1.7.6, agent-inject/agent/config.go.
"""

from __future__ import annotations

import base64
import math
import posixpath
from typing import Any

from standins.common import gojson
from standins.common.gotyped import Decoder, TypeMismatch
from standins.injector.annotations import PREFIX, AnnotationError
from standins.injector.plan import Plan
from standins.injector.pod import JsonObject
from standins.injector.secrets import Secret

HOME = "/home/vault"
TOKEN_FILE = f"{HOME}/.vault-token"
CACHE_PATH = "/vault/agent-cache"

# The telemetry stanza as the agent knows it; other names are dropped, as upstream does.
_TELEMETRY = Decoder(
    {
        "Telemetry": {
            "usage_gauge_period,omitempty": "string",
            "maximum_gauge_cardinality,omitempty": "int64",
            "disable_hostname,omitempty": "bool",
            "enable_hostname_label,omitempty": "bool",
            "lease_metrics_epsilon,omitempty": "string",
            "num_lease_metrics_buckets,omitempty": "int64",
            "add_lease_metrics_namespace_labels,omitempty": "bool",
            "filter_default,omitempty": "bool",
            "prefix_filter,omitempty": "[]string",
            "statsite_address,omitempty": "string",
            "statsd_address,omitempty": "string",
            "circonus_api_token,omitempty": "string",
            "circonus_api_app,omitempty": "string",
            "circonus_api_url,omitempty": "string",
            "circonus_submission_interval,omitempty": "string",
            "circonus_submission_url,omitempty": "string",
            "circonus_check_id,omitempty": "string",
            "circonus_check_force_metric_activation,omitempty": "bool",
            "circonus_check_instance_id,omitempty": "string",
            "circonus_check_search_tag,omitempty": "string",
            "circonus_check_display_name,omitempty": "string",
            "circonus_check_tags,omitempty": "string",
            "circonus_broker_id,omitempty": "string",
            "circonus_broker_select_tag,omitempty": "string",
            "dogstatsd_addr,omitempty": "string",
            "dogstatsd_tags,omitempty": "[]string",
            "prometheus_retention_time,omitempty": "string",
            "stackdriver_project_id,omitempty": "string",
            "stackdriver_location,omitempty": "string",
            "stackdriver_namespace,omitempty": "string",
            "stackdriver_debug_logs,omitempty": "bool",
        }
    }
)


def encoded(plan: Plan, *, init: bool) -> str:
    """The configuration in base64, as the agent's container gets it.

    Raises AnnotationError for a value that JSON lacks.
    """
    threshold = plan.lease_renewal_threshold
    if not math.isfinite(threshold):
        shown = "NaN" if math.isnan(threshold) else f"{'-' if threshold < 0 else '+'}Inf"
        raise AnnotationError(f"json: unsupported value: {shown}")
    text = gojson.text_of(agent_config(plan, init=init))
    return base64.b64encode(text.encode()).decode()


def agent_config(plan: Plan, *, init: bool) -> JsonObject:
    """The configuration of the init agent (`init`) or of the sidecar."""
    notes = plan.notes
    config: JsonObject = {
        "auto_auth": _auto_auth(plan),
        "exit_after_auth": init,
        "pid_file": f"{HOME}/.pid",
        "vault": {"address": notes.text("service")}
        | _filled(
            ca_cert=notes.text("ca-cert"),
            ca_path=notes.text("ca-key"),
            tls_skip_verify=plan.tls_skip_verify,
            client_cert=notes.text("client-cert"),
            client_key=notes.text("client-key"),
            tls_server_name=notes.text("tls-server-name"),
        ),
        "template_config": {"exit_on_retry_failure": plan.exit_on_retry_failure}
        | _filled(
            static_secret_render_interval=notes.text("template-static-secret-render-interval"),
            max_connections_per_host=plan.max_connections_per_host,
            lease_renewal_threshold=plan.lease_renewal_threshold,
        ),
    }
    config |= _filled(
        template=[_template(secret) for secret in plan.secrets],
        disable_idle_connections=_comma_list(notes.text("agent-disable-idle-connections")),
        disable_keep_alives=_comma_list(notes.text("agent-disable-keep-alives")),
    )
    if (telemetry := _telemetry(plan.telemetry)) is not None:
        config["telemetry"] = telemetry
    return config | _listener_and_cache(plan, init)


def _auto_auth(plan: Plan) -> JsonObject:
    notes = plan.notes
    paths = [TOKEN_FILE]
    if plan.inject_token:
        paths.append(posixpath.normpath(notes.text("secret-volume-path") + "/token"))
    method = {"type": notes.text("auth-type")} | _filled(
        mount_path=notes.text("auth-path"),
        min_backoff=notes.text("auth-min-backoff"),
        max_backoff=notes.text("auth-max-backoff"),
        namespace=notes.text("namespace"),
        config=plan.auth_config,
        exit_on_err=plan.exit_on_auth_err,
    )
    return {
        "method": method,
        "sink": [{"type": "file", "config": {"path": path}} for path in paths],
    }


def _template(secret: Secret) -> JsonObject:
    return {"destination": secret.destination} | _filled(
        contents=secret.template,
        source=secret.template_file,
        left_delimiter=secret.left_delimiter,
        right_delimiter=secret.right_delimiter,
        command=secret.command,
        perms=secret.permissions,
        error_on_missing_key=secret.error_on_missing_key,
    )


def _listener_and_cache(plan: Plan, init: bool) -> JsonObject:
    notes = plan.notes
    cache: JsonObject | None = None
    if plan.cache_persist:
        persist = {"type": "kubernetes", "path": CACHE_PATH}
        cache = {"persist": persist | _filled(exit_on_err=plan.cache_exit_on_err)}
    elif plan.cache_enable and plan.sidecar and not init:
        cache = {}
    if cache is not None:
        cache |= _filled(use_auto_auth_token=notes.text("agent-cache-use-auto-auth-token"))
    elif plan.enable_quit:
        # A listener without a cache stanza is not served by the agent.
        cache = {}
    else:
        return {}
    listener: JsonObject = {
        "type": "tcp",
        "address": f"127.0.0.1:{notes.text('agent-cache-listener-port')}",
        "tls_disable": True,
    }
    if plan.enable_quit:
        listener["agent_api"] = {"enable_quit": True}
    return {"listener": [listener], "cache": cache}


def _telemetry(asked: JsonObject) -> JsonObject | None:
    """The stanza; None when nothing was asked, or when one value has a wrong type."""
    if not asked:
        return None
    try:
        stanza: JsonObject = _TELEMETRY.decode("Telemetry", dict(sorted(asked.items())))
    except (TypeMismatch, RecursionError):
        return None
    return stanza


def telemetry_warnings(plan: Plan) -> list[str]:
    """What becomes of telemetry annotations that mean nothing or have a wrong type."""
    if plan.telemetry and _telemetry(plan.telemetry) is None:
        return [
            f"{PREFIX}agent-telemetry-: one value has a wrong type, so that the agents get no"
            " telemetry stanza"
        ]
    return [
        f"{PREFIX}agent-telemetry-{name[:100].replace('_', '-')} is no parameter of the stanza"
        for name in plan.telemetry
        if not _TELEMETRY.knows("Telemetry", name)
    ]


def _comma_list(text: str) -> list[str]:
    return text.split(",") if text else []


def _filled(**members: Any) -> JsonObject:
    """The members that say something: not empty, not false, not 0."""
    return {name: value for name, value in members.items() if value}
