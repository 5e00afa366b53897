"""A container as the Kubernetes API types it, for what a JSON Patch makes of an agent.

Upstream reads the patched container into its Go structure and writes that down again, so
what the structure cannot hold is refused here, with a reason, and not by the API server,
without one. Source: k8s.io/api v0.36.3, core/v1/types.go.
"""

from __future__ import annotations

from typing import Any

from standins.common import gojson, values
from standins.common.gojson import Number
from standins.common.gotyped import Decoder, Types

_TYPES: Types = {
    "Container": {
        "name": "string",
        "image,omitempty": "string",
        "command,omitempty": "[]string",
        "args,omitempty": "[]string",
        "workingDir,omitempty": "string",
        "ports,omitempty": "[]ContainerPort",
        "envFrom,omitempty": "[]EnvFromSource",
        "env,omitempty": "[]EnvVar",
        "resources,omitempty": "ResourceRequirements",
        "resizePolicy,omitempty": "[]ContainerResizePolicy",
        "restartPolicy,omitempty": "*string",
        "restartPolicyRules,omitempty": "[]ContainerRestartRule",
        "volumeMounts,omitempty": "[]VolumeMount",
        "volumeDevices,omitempty": "[]VolumeDevice",
        "livenessProbe,omitempty": "*Probe",
        "readinessProbe,omitempty": "*Probe",
        "startupProbe,omitempty": "*Probe",
        "lifecycle,omitempty": "*Lifecycle",
        "terminationMessagePath,omitempty": "string",
        "terminationMessagePolicy,omitempty": "string",
        "imagePullPolicy,omitempty": "string",
        "securityContext,omitempty": "*SecurityContext",
        "stdin,omitempty": "bool",
        "stdinOnce,omitempty": "bool",
        "tty,omitempty": "bool",
    },
    "ContainerPort": {
        "name,omitempty": "string",
        "hostPort,omitempty": "int32",
        "containerPort": "int32",
        "protocol,omitempty": "string",
        "hostIP,omitempty": "string",
    },
    "EnvFromSource": {
        "prefix,omitempty": "string",
        "configMapRef,omitempty": "*ConfigMapEnvSource",
        "secretRef,omitempty": "*SecretEnvSource",
    },
    "ConfigMapEnvSource": {
        "name,omitempty": "string",
        "optional,omitempty": "*bool",
    },
    "SecretEnvSource": {
        "name,omitempty": "string",
        "optional,omitempty": "*bool",
    },
    "EnvVar": {
        "name": "string",
        "value,omitempty": "string",
        "valueFrom,omitempty": "*EnvVarSource",
    },
    "EnvVarSource": {
        "fieldRef,omitempty": "*ObjectFieldSelector",
        "resourceFieldRef,omitempty": "*ResourceFieldSelector",
        "configMapKeyRef,omitempty": "*ConfigMapKeySelector",
        "secretKeyRef,omitempty": "*SecretKeySelector",
        "fileKeyRef,omitempty": "*FileKeySelector",
    },
    "ObjectFieldSelector": {
        "apiVersion,omitempty": "string",
        "fieldPath": "string",
    },
    "ResourceFieldSelector": {
        "containerName,omitempty": "string",
        "resource": "string",
        "divisor,omitempty": "Quantity",
    },
    "ConfigMapKeySelector": {
        "name,omitempty": "string",
        "key": "string",
        "optional,omitempty": "*bool",
    },
    "SecretKeySelector": {
        "name,omitempty": "string",
        "key": "string",
        "optional,omitempty": "*bool",
    },
    "FileKeySelector": {
        "volumeName": "string",
        "path": "string",
        "key": "string",
        "optional,omitempty": "*bool",
    },
    "ResourceRequirements": {
        "limits,omitempty": "map[string]Quantity",
        "requests,omitempty": "map[string]Quantity",
        "claims,omitempty": "[]ResourceClaim",
    },
    "ResourceClaim": {
        "name": "string",
        "request,omitempty": "string",
    },
    "ContainerResizePolicy": {
        "resourceName": "string",
        "restartPolicy": "string",
    },
    "ContainerRestartRule": {
        "action,omitempty": "string",
        "exitCodes,omitempty": "*ContainerRestartRuleOnExitCodes",
    },
    "ContainerRestartRuleOnExitCodes": {
        "operator,omitempty": "string",
        "values,omitempty": "[]int32",
    },
    "VolumeMount": {
        "name": "string",
        "readOnly,omitempty": "bool",
        "recursiveReadOnly,omitempty": "*string",
        "mountPath": "string",
        "subPath,omitempty": "string",
        "mountPropagation,omitempty": "*string",
        "subPathExpr,omitempty": "string",
    },
    "VolumeDevice": {
        "name": "string",
        "devicePath": "string",
    },
    "Probe": {
        "exec,omitempty": "*ExecAction",
        "httpGet,omitempty": "*HTTPGetAction",
        "tcpSocket,omitempty": "*TCPSocketAction",
        "grpc,omitempty": "*GRPCAction",
        "initialDelaySeconds,omitempty": "int32",
        "timeoutSeconds,omitempty": "int32",
        "periodSeconds,omitempty": "int32",
        "successThreshold,omitempty": "int32",
        "failureThreshold,omitempty": "int32",
        "terminationGracePeriodSeconds,omitempty": "*int64",
    },
    "ExecAction": {
        "command,omitempty": "[]string",
    },
    "HTTPGetAction": {
        "path,omitempty": "string",
        "port": "IntOrString",
        "host,omitempty": "string",
        "scheme,omitempty": "string",
        "httpHeaders,omitempty": "[]HTTPHeader",
    },
    "HTTPHeader": {
        "name": "string",
        "value": "string",
    },
    "TCPSocketAction": {
        "port": "IntOrString",
        "host,omitempty": "string",
    },
    "GRPCAction": {
        "port": "int32",
        "service": "*string",
    },
    "Lifecycle": {
        "postStart,omitempty": "*LifecycleHandler",
        "preStop,omitempty": "*LifecycleHandler",
        "stopSignal,omitempty": "*string",
    },
    "LifecycleHandler": {
        "exec,omitempty": "*ExecAction",
        "httpGet,omitempty": "*HTTPGetAction",
        "tcpSocket,omitempty": "*TCPSocketAction",
        "sleep,omitempty": "*SleepAction",
    },
    "SleepAction": {
        "seconds": "int64",
    },
    "SecurityContext": {
        "capabilities,omitempty": "*Capabilities",
        "privileged,omitempty": "*bool",
        "seLinuxOptions,omitempty": "*SELinuxOptions",
        "windowsOptions,omitempty": "*WindowsSecurityContextOptions",
        "runAsUser,omitempty": "*int64",
        "runAsGroup,omitempty": "*int64",
        "runAsNonRoot,omitempty": "*bool",
        "readOnlyRootFilesystem,omitempty": "*bool",
        "allowPrivilegeEscalation,omitempty": "*bool",
        "procMount,omitempty": "*string",
        "seccompProfile,omitempty": "*SeccompProfile",
        "appArmorProfile,omitempty": "*AppArmorProfile",
    },
    "Capabilities": {
        "add,omitempty": "[]string",
        "drop,omitempty": "[]string",
    },
    "SELinuxOptions": {
        "user,omitempty": "string",
        "role,omitempty": "string",
        "type,omitempty": "string",
        "level,omitempty": "string",
    },
    "WindowsSecurityContextOptions": {
        "gmsaCredentialSpecName,omitempty": "*string",
        "gmsaCredentialSpec,omitempty": "*string",
        "runAsUserName,omitempty": "*string",
        "hostProcess,omitempty": "*bool",
    },
    "SeccompProfile": {
        "type": "string",
        "localhostProfile,omitempty": "*string",
    },
    "AppArmorProfile": {
        "type": "string",
        "localhostProfile,omitempty": "*string",
    },
}


def _quantity(value: Any) -> str:
    """A quantity, as a text or as a number; it stays in the form in which it was written."""
    if value is None:
        return "0"
    written = value if isinstance(value, str) else gojson.dumps(value)
    return values.check_quantity(written.strip())


def _int_or_string(value: Any) -> int | str:
    if isinstance(value, str) and not isinstance(value, Number):
        return value
    number: int = _PLAIN.decode("int32", value)
    return number


_PLAIN = Decoder({})
_CONTAINERS = Decoder(_TYPES, {"Quantity": _quantity, "IntOrString": _int_or_string}, package="v1")


def checked(value: Any) -> dict[str, Any]:
    """A container from its JSON, as `gojson.loads` reads it, without what the API does not know.

    Raises gotyped.TypeMismatch and RecursionError.
    """
    container: dict[str, Any] = _CONTAINERS.decode("Container", value)
    return container
