"""The control-plane node from the inside: files, static pods, and etcd by its JSON gateway.

Everything goes through the container engine, so it works while the Kubernetes API is down.
A file appears whole or not at all: it is written beside its place and renamed. What a node must
have for this (bash, curl, base64 and more; no etcdctl) is in harness.controlplane.contract.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.base import process
from harness.base.errors import EnvironmentLacks, LabError
from harness.controlplane.contract import (
    API_SERVER,
    CLIENTS,
    ETCD_PORT,
    KUBELET_UNIT,
    MANIFESTS,
    NAME_LETTERS,
    NAME_SERVER,
    PKI,
    POD_LOGS,
)
from harness.controlplane.settings import FOLDER

# Written when the API server was last stopped: logs that are newer are about the next one.
STOPPED = f"{FOLDER}/stopped"
ENCRYPTED = b"k8s:enc:"
LOG_LINES = 8
ETCD_SECONDS = 30

_WRITE = """
set -eu
umask 077
mkdir -p "$STAGE"
while read -r file data; do
  new=$(mktemp "$STAGE/.new.XXXXXX")
  printf %s "$data" | base64 -d >"$new"
  chmod "$MODE" "$new"
  chown "$OWNER" "$new"
  mkdir -p "${file%/*}"
  mv -f "$new" "$file"
done <<<"$FILES"
"""
# HTTP/1.1 without ALPN: etcd's gateway refuses HTTP/1.0, and its answer is wanted with its head.
# No "Expect", which would put a second head before it.
_ETCD = f"""
set -eu
printf %s "$BODY" | curl -s -S -i --http1.1 --no-alpn --max-time {ETCD_SECONDS} -H Expect: \\
  --cacert {PKI}/etcd/ca.crt --cert {PKI}/apiserver-etcd-client.crt \\
  --key {PKI}/apiserver-etcd-client.key --data-binary @- "https://127.0.0.1:{ETCD_PORT}$REQUEST"
"""
# The kubelet does not look on while the API server is exchanged: it would first end the old pod
# in its own time, and it makes a pod that comes too early wait for ten seconds and more. The
# process is killed: asked to end, it would wait for its watchers, and take its address out of the
# Service that pods reach it by. Its state is in etcd, whose transactions are whole or not at all.
_EXCHANGE = f"""
trap 'systemctl start {KUBELET_UNIT}' EXIT
systemctl stop {KUBELET_UNIT}
pkill -KILL -x {API_SERVER} || true
while pgrep -x {API_SERVER} >/dev/null; do :; done
touch {STOPPED}
{_WRITE}
"""
_GROUP = """
groups=/sys/fs/cgroup/systemd
[ -d $groups ] || groups=/sys/fs/cgroup
find $groups/kubelet* -maxdepth 3 -type d -name "*pod$POD*" 2>/dev/null || true
"""
# The log that was written last tells the pod that ran last: a folder may be older than it.
# A container that ends at once is followed by another one: its log tells why, not theirs.
_LAST_LOG = f"""
cd {POD_LOGS} 2>/dev/null || exit 0
logs=$(ls -t kube-system_"$POD"-*_*/*/*.log 2>/dev/null)
recent=
for log in $logs; do
  if [ -z "$SINCE" ] || [ "$log" -nt "$SINCE" ]; then recent="$log $recent"; fi
  [ -n "$SINCE" ] || break
done
[ -n "$recent" ] || exit 0
set -- $recent
echo "${{!#}}"
tail -q -n "$LINES" $recent
"""


class Node:
    """The node container `name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<node {self.name}>"

    # -- commands and files -------------------------------------------------------------

    def run(self, script: str, **variables: str) -> bytes:
        """Run a bash script on the node; its standard output. Raises LabError."""
        ended = process.in_container(self.name, ["bash", "-c", script], variables)
        if ended.returncode:
            said = (ended.stderr or ended.stdout).decode(errors="replace").strip()
            if "No such container" in said or "is not running" in said:
                raise EnvironmentLacks(f"the container {self.name} does not run", hint="./lab up")
            raise LabError(
                f"a command on the node ended with status {ended.returncode}: {said[-400:]}",
                where=self.name,
            )
        return ended.stdout

    def read(self, *files: str) -> dict[str, str]:
        """The text of each of these files that exists."""
        script = 'for f in $FILES; do [ -f "$f" ] && echo "$f $(base64 -w0 "$f")"; done; exit 0'
        lines = self.run(script, FILES=" ".join(files)).decode().splitlines()
        pairs = (line.split(" ", 1) for line in lines)
        return {name: base64.b64decode(data).decode() for name, data in pairs}

    def write(self, file: str, text: str, mode: str = "600", owner: str = "0:0") -> None:
        """Put `text` into a file, all at once."""
        self.write_all({file: text}, mode, owner)

    def write_all(self, files: Mapping[str, str], mode: str = "600", owner: str = "0:0") -> None:
        """Put texts into files, one after the other in this order, each all at once."""
        self.run(_WRITE, FILES=_listed(files), MODE=mode, OWNER=owner, STAGE=FOLDER)

    def remove(self, *paths: str) -> None:
        """Remove files and folders; fine when there are none."""
        self.run("rm -rf -- $PATHS", PATHS=" ".join(paths))

    # -- static pods --------------------------------------------------------------------

    def manifest(self, pod: str) -> str:
        """Where the kubelet looks for the manifest of a static pod."""
        return f"{MANIFESTS}/{pod}.yaml"

    def processes(self, program: str = API_SERVER) -> list[str]:
        """The process ids of a program, in whatever container it runs."""
        return self.run('pgrep -x "$NAME" || true', NAME=program[:NAME_LETTERS]).decode().split()

    def has_group(self, uid: str) -> bool:
        """Whether a pod's control group is there: it is the last that the kubelet removes."""
        return bool(uid and self.run(_GROUP, POD=uid.replace("-", "_")).strip())

    def exchange(self, files: Mapping[str, str]) -> None:
        """Stop the API server, put these files there, in this order, and let kubelet go on."""
        self.run(_EXCHANGE, FILES=_listed(files), MODE="600", OWNER="0:0", STAGE=FOLDER)

    def renew_clients(self) -> None:
        """Restart what watches the API server: kubelet, controllers, scheduler, kube-proxy, DNS.

        Each of them tries again after a pause when the API server is away, and after one of up
        to a minute when that happens often: pods would wait that long, and a new Service would
        have no name. A kubelet that was just started runs ended containers again without a
        pause. CoreDNS answers on while it restarts its plugins (its manual, "Signals").
        """
        killed = "".join(f"pkill -KILL -x {name[:NAME_LETTERS]}; " for name in CLIENTS)
        self.run(f"systemctl restart {KUBELET_UNIT}; {killed}pkill -USR1 -x {NAME_SERVER}; true")

    def last_log(
        self, pod: str = API_SERVER, lines: int = LOG_LINES, since: str = ""
    ) -> tuple[str, list[str]]:
        """The log of the newest container of a static pod, and its last lines.

        Its name has the pod's id in it. With `since` it must have been written after that file,
        and the lines are those of every log that was.
        """
        answer = self.run(_LAST_LOG, POD=pod, LINES=str(lines), SINCE=since)
        log = answer.decode(errors="replace").splitlines()
        # Each line begins with a time, a stream and a mark of the container runtime's own.
        return (log[0], [line.split(" ", 3)[-1] for line in log[1:]]) if log else ("", [])

    # -- etcd ---------------------------------------------------------------------------

    def etcd(self, request: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One call of etcd's JSON gateway, as the API server's own client. Raises LabError."""
        answer = self.run(_ETCD, REQUEST=f"/v3/{request}", BODY=json.dumps(body))
        head, _, content = answer.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.[01] (\d+)", head)
        if not found or found[1] != b"200":
            raise LabError(
                f"etcd answered {head[:60].decode(errors='replace') or 'nothing'} to {request}",
                where=self.name,
                hint="./lab up",
            )
        return dict(json.loads(content))

    def values(self, prefix: str, *, exact: bool = False) -> Iterator[tuple[str, bytes]]:
        """Every etcd key under `prefix` (or this one key) with its raw value."""
        body = {"key": _b64(prefix.encode())}
        if not exact:
            end = prefix.encode()
            body["range_end"] = _b64(end[:-1] + bytes([end[-1] + 1]))
        for entry in self.etcd("kv/range", body).get("kvs") or []:
            value = base64.b64decode(entry.get("value", ""))
            yield base64.b64decode(entry["key"]).decode(), value

    def put(self, key: str, value: bytes) -> None:
        """Write a raw value into etcd, past the API server."""
        self.etcd("kv/put", {"key": _b64(key.encode()), "value": _b64(value)})

    def erase(self, key: str) -> None:
        """Delete a key from etcd, past the API server."""
        self.etcd("kv/deleterange", {"key": _b64(key.encode())})


def _listed(files: Mapping[str, str]) -> str:
    return "\n".join(f"{name} {_b64(text.encode())}" for name, text in files.items())


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
