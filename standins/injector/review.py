"""AdmissionReview in, AdmissionReview out: the webhook without its HTTP server.

`answer` turns a request body into a decision. It never lets a pod through because
something went wrong: what cannot be read is an HTTP error, and what goes wrong after
that is a denial with the reason. A pod that did not ask is let through untouched.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from standins.common import gojson, values
from standins.common.logs import Log
from standins.injector import warnings
from standins.injector.annotations import INJECT, PREFIX, STATUS, AnnotationError, parsed
from standins.injector.plan import Plan, Refusal, make_plan, stage
from standins.injector.pod import JsonObject, Pod, PodError
from standins.injector.pod_patch import INJECTED, make_patch
from standins.injector.settings import Settings

log = Log(__name__)

VERSIONS = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")
SYSTEM_NAMESPACES = ("kube-system", "kube-public")


class ReviewError(ValueError):
    """The body is no AdmissionReview this webhook can answer."""


@dataclass(frozen=True)
class Decision:
    """The answer to one review, and what the metrics want to know about it."""

    body: bytes
    namespace: str
    allowed: bool
    injected: str | None
    """init_and_sidecar, init_only or sidecar_only; None when nothing was injected."""


def answer(body: bytes, settings: Settings) -> Decision:
    """Decide about one review. Raises ReviewError when there is nothing to answer."""
    review = _decode(body)
    request = review.get("request")
    if not isinstance(request, dict):
        raise ReviewError("the review has no request")
    uid, namespace = request.get("uid"), request.get("namespace")
    uid = uid if isinstance(uid, str) else ""
    namespace = namespace if isinstance(namespace, str) else ""
    injected: str | None = None
    response: JsonObject = {"uid": uid, "allowed": True}
    try:
        pod = Pod.read(request.get("object"))
        if should_inject(pod):
            plan = plan_for(pod, namespace, settings)
            # Raises for what is no JSON. An answer that the API server cannot decode counts
            # as none, and the webhook's failurePolicy would let the pod in without an agent.
            text = gojson.text_of(make_patch(plan))
            response["patch"] = base64.b64encode(text.encode()).decode()
            response["patchType"] = "JSONPatch"
            if found := warnings.about(plan):
                response["warnings"] = found
            injected = _kind(plan)
    except (PodError, Refusal) as error:
        response = _denied(uid, str(error))
        log.info("denied", namespace=namespace, uid=uid, reason=str(error))
    except Exception:  # a defect of ours, or a pod made to find one: see below
        # Letting it through would start an application without its secrets, so it is
        # refused, and the log has the trace.
        log.defect("failed", namespace=namespace, uid=uid)
        response = _denied(uid, "internal error of the injector; its log has the cause")
    answered = {
        "kind": "AdmissionReview",
        "apiVersion": review.get("apiVersion") or VERSIONS[0],
        "response": response,
    }
    allowed = bool(response["allowed"])
    return Decision(gojson.text_of(answered).encode(), namespace, allowed, injected)


def should_inject(pod: Pod) -> bool:
    """Whether the pod asks for an agent and does not have one yet. Raises Refusal."""
    asked = pod.annotations.get(PREFIX + INJECT)
    if asked is None:
        return False
    with stage("error checking if should inject agent"):
        wanted = parsed(INJECT, asked, values.parse_bool)
    started = pod.phase not in ("", "Pending")
    done = pod.annotations.get(PREFIX + STATUS) == INJECTED
    return wanted and not started and not done


def plan_for(pod: Pod, namespace: str, settings: Settings) -> Plan:
    """The plan for a pod that asks, outside of the system namespaces. Raises Refusal."""
    with stage("error with request namespace"):
        if namespace in SYSTEM_NAMESPACES:
            raise AnnotationError(f"cannot inject into system namespaces: {namespace}")
    return make_plan(pod, namespace, settings)


def _decode(body: bytes) -> JsonObject:
    try:
        review = gojson.parse(body.decode())
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"error decoding admission request: {error}") from error
    if not isinstance(review, dict):
        raise ReviewError("error decoding admission request: not an object")
    version, kind = review.get("apiVersion"), review.get("kind")
    # Neither set means v1, as upstream reads it.
    if (version or kind) and (version not in VERSIONS or kind != "AdmissionReview"):
        raise ReviewError(
            f"error decoding admission request: no kind {str(kind)[:80]!r} is registered"
            f" for version {str(version)[:80]!r}"
        )
    return review


def _denied(uid: str, message: str) -> JsonObject:
    return {"uid": uid, "allowed": False, "status": {"metadata": {}, "message": message}}


def _kind(plan: Plan) -> str | None:
    if plan.pre_populate and plan.sidecar:
        return "init_and_sidecar"
    if plan.pre_populate:
        return "init_only"
    return "sidecar_only" if plan.sidecar else None
