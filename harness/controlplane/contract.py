"""What the harness and the labs expect inside a cluster node, as data, and a look at it.

kind's node image is not ours: its next release may name a program, a unit or a port another way.
Everything that is used inside a node is listed here once, and the code takes the names from here.
`inspect_image` looks for all of it in a node image that does not run: kubeadm, in a container of
its own, writes the manifests and certificates that it would write for a cluster. `inspect_node`
looks at a node that runs. Upstream's image and the offline supply's must both pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.base import process
from harness.base.errors import LabError

MANIFESTS = "/etc/kubernetes/manifests"
PKI = "/etc/kubernetes/pki"
# Where kind's entrypoint writes the node's address at each start.
ADDRESS_FILE = "/kind/old-ipv4"
ENTRYPOINT = "/usr/local/bin/entrypoint"
POD_LOGS = "/var/log/pods"
KUBELET_UNIT, CONTAINERD_UNIT = "kubelet", "containerd"
API_SERVER = "kube-apiserver"
CLIENTS = ("kube-controller-manager", "kube-scheduler", "kube-proxy")
NAME_SERVER = "coredns"
API_PORT, ETCD_PORT, DNS_READY_PORT = 6443, 2379, 8181
DNS_LABEL = "k8s-app=kube-dns"
# The kernel keeps fifteen letters of a program's name.
NAME_LETTERS = 15


@dataclass(frozen=True)
class Expectation:
    """One thing that must be so: `check` is a condition in bash, what it prints is shown."""

    kind: str
    name: str
    why: str
    check: str


@dataclass(frozen=True)
class Observation:
    """An expectation, whether it is met, and what was seen."""

    expected: Expectation
    met: bool
    seen: str


def _program(name: str, why: str) -> Expectation:
    return Expectation("program", name, why, f"command -v {name}")


def _file(name: str, why: str) -> Expectation:
    return Expectation("file", name, why, f"[ -f {name} ]")


def _folder(name: str, why: str) -> Expectation:
    return Expectation("folder", name, why, f"[ -d {name} ]")


def _unit(name: str, why: str) -> Expectation:
    places = f"/etc/systemd/system/{name}.service /lib/systemd/system/{name}.service"
    return Expectation("unit", name, why, f"ls {places} 2>/dev/null | grep .")


def _static_pod(name: str, why: str) -> Expectation:
    return Expectation("static pod", name, why, f"ls {MANIFESTS}/{name}.yaml")


def _flag(kind: str, name: str, pod: str, flag: str, why: str) -> Expectation:
    return Expectation(kind, name, why, f"grep -o -e '{flag}' {MANIFESTS}/{pod}.yaml")


def _process(name: str, why: str) -> Expectation:
    return Expectation("process", name, why, f"pgrep -x {name[:NAME_LETTERS]}")


# What a node image must have before it runs.
IMAGE = (
    _program("bash", "every command of the harness on a node is a script for it"),
    _program("base64", "files travel in base64"),
    _program("mktemp", "a file is written beside its place and renamed"),
    _program("curl", "the one way to etcd: its JSON gateway"),
    Expectation(
        "option",
        "curl --http1.1 --no-alpn",
        "etcd refuses what curl offers otherwise",
        "curl --http1.1 --no-alpn --version | head -n 1",
    ),
    _program("pgrep", "whether the API server runs"),
    _program("pkill", "ends the API server and its clients"),
    _program("find", "whether a pod's control group is there"),
    _program("tail", "the last lines of a static pod's log"),
    _program("systemctl", "stops and starts the kubelet"),
    _program("journalctl", "the kubelet's last lines, for an explanation"),
    _program("ctr", "which images a node has, and bringing it more"),
    _program("kubeadm", "kind makes the cluster with it"),
    _program("kubectl", "kind applies its manifests with it"),
    _unit(KUBELET_UNIT, "stopped while the API server is exchanged"),
    _unit(CONTAINERD_UNIT, "runs the pods"),
    _folder(MANIFESTS, "static pods: the API server's settings, the KMS plugin"),
    Expectation(
        "file",
        ADDRESS_FILE,
        "the node's address after a restart, for the manifests that are kept",
        f"grep -o -m 1 {ADDRESS_FILE} {ENTRYPOINT}",
    ),
)
# What kubeadm of that image makes of it.
CONTROL_PLANE = (
    _static_pod(API_SERVER, "labs change its settings"),
    *(_static_pod(name, "killed after the API server was exchanged") for name in CLIENTS[:2]),
    _static_pod("etcd", "labs look into it"),
    *(
        _file(f"{PKI}/{name}", "the way to etcd: the API server's own client certificate")
        for name in ("etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key")
    ),
    *(
        _file(f"{PKI}/etcd/{name}", "lab 00 reads etcd from a pod on its node with them")
        for name in ("server.crt", "server.key")
    ),
    _flag("port", str(API_PORT), API_SERVER, f"--secure-port={API_PORT}", "the API server"),
    _flag(
        "port",
        str(ETCD_PORT),
        "etcd",
        f"--listen-client-urls=https://127.0.0.1:{ETCD_PORT}",
        "etcd, on the node alone",
    ),
    _flag("folder", "/var/lib/etcd", "etcd", "--data-dir=/var/lib/etcd", "labs search its files"),
    Expectation(
        "port",
        str(DNS_READY_PORT),
        "whether the cluster's DNS is ready",
        # As a probe's number, or as the container port that the probe names (kubeadm 1.36).
        f"grep -o -m 1 -e '[pP]ort: {DNS_READY_PORT}' /tmp/addons.yaml",
    ),
    Expectation(
        "label",
        DNS_LABEL,
        "the pods of the cluster's DNS",
        f"grep -o -m 1 -e '{DNS_LABEL.replace('=', ': ')}' /tmp/addons.yaml",
    ),
)
# What is there when a cluster runs on it.
RUNNING = (
    _process(API_SERVER, "ended to change its settings"),
    *(_process(name, "killed after the API server was exchanged") for name in CLIENTS),
    _process(NAME_SERVER, "gets the signal to start its plug-ins again"),
    _file(ADDRESS_FILE, "the node's address after a restart, for the manifests that are kept"),
    _folder(POD_LOGS, "the last words of an API server that does not come up"),
    _folder("/var/lib/kubelet/pods", "what a node keeps of a pod's Secrets"),
    _folder("/var/lib/etcd/member", "what etcd has in its files"),
    Expectation(
        "control group",
        "kubelet",
        "the last that the kubelet removes of a pod",
        "find /sys/fs/cgroup/systemd/kubelet* /sys/fs/cgroup/kubelet* -maxdepth 0 2>/dev/null"
        " | grep .",
    ),
)

# As `kubeadm init` of a cluster does it, with neither containerd nor a network.
_PREPARE = f"""
cat >/tmp/kubeadm.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: 192.0.2.1, bindPort: {API_PORT}}}
nodeRegistration: {{name: node, criSocket: "unix:///run/containerd/containerd.sock"}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $(kubeadm version -o short)
END
for phase in "certs all" "control-plane all" "etcd local"; do
  kubeadm init phase $phase --config /tmp/kubeadm.yaml >/dev/null
done
kubeadm init phase addon coredns --print-manifest --config /tmp/kubeadm.yaml >/tmp/addons.yaml
"""
_MARK = "@@"


def inspect_image(image: str) -> list[Observation]:
    """Look for what is expected of a node image; the engine pulls it if it lacks it.

    Raises LabError when no container of it can be made.
    """
    words = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "bash", image, "-c"]
    expected = (*IMAGE, *CONTROL_PLANE)
    try:
        output = process.run([*words, _script(expected, _PREPARE)], timeout=300)
    except process.CommandFailed as error:
        raise LabError(
            f"no container of {image} can be made: {error.output.strip()[-200:]}",
            where="docker run",
            hint="name a node image, such as docker.io/kindest/node:v1.36.4",
        ) from error
    return _observations(expected, output)


def inspect_node(name: str) -> list[Observation]:
    """Look for everything in the node container `name`, in which a cluster runs."""
    expected = (*IMAGE, *CONTROL_PLANE[:-2], *RUNNING)
    ended = process.in_container(name, ["bash", "-c", _script(expected)])
    return _observations(expected, ended.stdout.decode(errors="replace"))


def _script(expected: Iterable[Expectation], prepare: str = "") -> str:
    """A script that prints a line for each expectation: its number, met or not, what it saw."""
    lines = [prepare]
    for number, one in enumerate(expected):
        lines.append(f"if seen=$({one.check}); then met=yes; else met=no; fi")
        lines.append(f'echo "{_MARK} {number} $met" $seen')
    return "\n".join([*lines, "exit 0"])


def _observations(expected: tuple[Expectation, ...], output: str) -> list[Observation]:
    answers = {}
    for line in output.splitlines():
        if line.startswith(f"{_MARK} "):
            _, number, met, *seen = line.split(" ", 3)
            answers[int(number)] = (met == "yes", " ".join(seen))
    return [
        Observation(one, *answers.get(number, (False, "the look ended before this")))
        for number, one in enumerate(expected)
    ]
