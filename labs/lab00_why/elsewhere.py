"""Step 3: who reads a Secret without any right to get it."""

from __future__ import annotations

from harness import expect
from harness.lab.api import LabContext
from harness.lab.kit.pods import expect_running
from labs.lab00_why.encoding import password_of
from labs.lab00_why.lab import why
from labs.lab00_why.people import allowed
from labs.lab00_why.without_get import (
    asks_for_secret,
    copies,
    describe_shows,
    from_environ,
    from_node,
    from_pod,
    literal_of,
    neighbours,
    would_be_created,
)

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")


@why.step(
    "Read it without the right to",
    minutes=5,
    goals=[
        "deployer has no right on Secrets",
        "oncall has no right on Secrets",
        "the deployer may create pods",
        "and is refused when it asks for the Secret: 403",
        "the pod thief printed the password: its author could read the log, not the Secret",
        "by exec the password of careful can be read in /proc/1/environ",
        "describe pod shows the value that was written into the manifest of careless",
        "in the namespace of the neighbour the deployer has no right",
        "the pod node-reader found the neighbour's password on the node",
        "Pod Security refuses such a pod, for its hostPath volume",
        "two namespaces that need one password have two copies of it",
        "no event tells that somebody has read the Secret",
    ],
    hints=[
        "Kubelet fetches a Secret for a pod, and nobody asks whether the author of the pod may "
        "read it. `kubectl explain pod.spec.containers.env.valueFrom`.",
        "To exec is to *create* on `pods/exec`. Kubelet keeps the volumes of all pods of a node "
        "in one folder, by their UIDs. Pod Security has three levels; the middle one forbids "
        "hostPath.",
        "verbs: [create, get]; secretKeyRef; resources: [pods/exec]; /var/lib/kubelet/pods; "
        "enforce: baseline",
    ],
)
def read_without_get(lab: LabContext) -> None:
    """
    Nobody here gets a right on Secrets. Five ways to have the value all the same:

    1. **Create a pod** that names the Secret, and let it print it. Kubernetes does not ask
       whether the author of a pod may read what the pod uses. So `create pods` *is* `get
       secrets`, for the whole namespace; and so is the right to create what creates pods:
       Deployments, Jobs, CronJobs.
    2. **exec** into a pod that has it.
    3. **/proc/1/environ**: an environment variable can be read by every process of the same
       user, and each child process inherits it.
    4. **describe pod**, where the value was written into the manifest instead of a Secret.
       The ClusterRole *view* is enough: it leaves out Secrets, not pods.
    5. **The node.** A Secret volume is a file system in the node's memory. Root there reads
       those of *every* pod on it, whatever the namespace; and a pod with a `hostPath` volume
       reads as root there. So the deployer has a password of a namespace that is shut to it.

    **Pod Security** shuts the fifth way: a namespace that enforces `baseline` takes no
    hostPath. It does not shut the first: a pod that uses a Secret is a pod like any other.

    None of these ways leaves a trace on the Secret: there is no event about it.
    """
    lab.kubectl_apply("""
apiVersion: v1
kind: Namespace
metadata:
  name: $NAMESPACE-other
  labels:
    pod-security.kubernetes.io/enforce: baseline  #? the level that takes no hostPath
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: deployer}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer}
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [create, get]  #? no right on Secrets, only on pods
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{kind: ServiceAccount, name: deployer, namespace: $NAMESPACE}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: oncall}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: oncall}
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [get]
- apiGroups: [""]
  resources: [pods/exec]  #? what may oncall do with a pod, besides looking at it?
  verbs: [create, get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: oncall}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: oncall}
subjects: [{kind: ServiceAccount, name: oncall, namespace: $NAMESPACE}]
""")
    lab.sh(r"""
kubectl get secret app -o jsonpath='{.data.password}' | base64 -d |
  kubectl -n $NAMESPACE-other create secret generic app --from-file=password=/dev/stdin
""")
    lab.kubectl_apply(file="manifests/holders.yaml")
    lab.sh("""
kubectl wait --for=condition=Ready pod/careful pod/careless --timeout=60s
kubectl -n $NAMESPACE-other wait --for=condition=Ready pod/neighbour --timeout=60s
""")
    lab.sh(r"""
as() { kubectl --as system:serviceaccount:$NAMESPACE:$1 "${@:2}"; }
# 1. The deployer may not get the Secret. It creates a pod that gets it.
as deployer get secret app || true
as deployer create -f - <<EOF
apiVersion: v1
kind: Pod
metadata: {name: thief}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'printf %s "\$PASSWORD" | sha256sum']
    env:
    - name: PASSWORD
      valueFrom:
        secretKeyRef: {name: app, key: password} #?(secretKeyRef) who gets the value for the pod?
EOF
kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/thief --timeout=60s
echo "the password, and what thief printed:"
kubectl get secret app -o jsonpath='{.data.password}' | base64 -d | sha256sum
as deployer logs thief

# 2 and 3. By exec: the variables that the first process was started with.
as oncall exec careful -- sh -c \
  "tr '\0' '\n' < /proc/1/environ | sed -n 's/^PASSWORD=//p' | tr -d '\n' | sha256sum"

# 4. Describe: a Secret's value is left out, one in the manifest is not.
as viewer describe pod careful | grep PASSWORD
as viewer describe pod careless | grep PASSWORD
""")
    lab.sh(r"""
as() { kubectl --as system:serviceaccount:$NAMESPACE:$1 "${@:2}"; }
node_reader() {
  cat <<EOF
apiVersion: v1
kind: Pod
metadata: {name: node-reader}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  containers:
  - name: app
    image: $APP_IMAGE
    imagePullPolicy: IfNotPresent
    securityContext: {runAsUser: 0}
    command:
    - sh
    - -c
    - find /node -path '*kubernetes.io~secret*' -type l -name password -exec sha256sum {} + ; true
    volumeMounts: [{name: node, mountPath: /node, readOnly: true}]
  volumes:
  - name: node
    hostPath:
      path: /var/lib/kubelet/pods  #? where the node keeps the volumes of its pods
EOF
}
# 5. The node. The neighbour's namespace is shut to the deployer.
node_reader | as deployer create -f -
kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/node-reader --timeout=60s
as deployer logs node-reader |
  grep $(kubectl -n $NAMESPACE-other get pod neighbour -o jsonpath='{.metadata.uid}')
# Pod Security would not have taken that pod.
node_reader | kubectl -n $NAMESPACE-other create --dry-run=server -f - || true
# What does the Secret itself tell of all that?
kubectl events --for secret/app
""")


@read_without_get.check
def _(lab: LabContext) -> None:
    password = lab.fingerprint(password_of(lab, "app"))
    _check_rights(lab)
    expect(
        from_pod(lab) == password,
        "the pod thief printed the password: its author could read the log, not the Secret",
        found=from_pod(lab),
        hint="its command prints the SHA-256 of $PASSWORD",
    )
    expect_running(lab, "careful")
    expect(
        from_environ(lab) == password,
        "by exec the password of careful can be read in /proc/1/environ",
        found=from_environ(lab),
        hint="its variable PASSWORD comes from the Secret app: valueFrom",
    )
    expect_running(lab, "careless")
    literal = literal_of(lab, "careless")
    expect(
        literal and describe_shows(lab, "careless", literal),
        "describe pod shows the value that was written into the manifest of careless",
        hint="the variable PASSWORD of careless has a value, not a valueFrom",
    )
    expect(
        not describe_shows(lab, "careful", password_of(lab, "app")),
        "and of careful only where the value comes from",
    )
    _check_node(lab)
    expect(
        copies(lab) == 2,
        "two namespaces that need one password have two copies of it",
        found=copies(lab),
    )
    events = lab.kube.events("app")
    expect(not events, "no event tells that somebody has read the Secret", found=events)


def _check_rights(lab: LabContext) -> None:
    for account in ("deployer", "oncall"):
        expect(lab.kube.get("ServiceAccount", account), f"there is a service account {account}")
        rights = [verb for verb in VERBS if allowed(lab, account, verb, "secrets")]
        expect(not rights, f"{account} has no right on Secrets", found=rights)
    expect(allowed(lab, "deployer", "create", "pods"), "the deployer may create pods")
    refused = asks_for_secret(lab)
    expect(
        refused.startswith("403") and 'cannot get resource "secrets"' in refused,
        "and is refused when it asks for the Secret: 403",
        found=refused,
    )


def _check_node(lab: LabContext) -> None:
    where = neighbours(lab)
    rights = [verb for verb in VERBS if allowed(lab, "deployer", verb, "pods", namespace=where)]
    expect(not rights, "in the namespace of the neighbour the deployer has no right", found=rights)
    expect_running(lab, "neighbour", neighbours(lab))
    expect(
        from_node(lab) == lab.fingerprint(password_of(lab, "app")),
        "the pod node-reader found the neighbour's password on the node",
        found=from_node(lab) or "no file of that pod in the log of node-reader",
        hint="node-reader has to be created when neighbour runs already",
    )
    refused = would_be_created(lab, "node-reader")
    expect(
        'violates PodSecurity "baseline:latest": hostPath' in refused,
        "Pod Security refuses such a pod, for its hostPath volume",
        found=refused,
    )
    taken = would_be_created(lab, "thief")
    expect("created" in taken, "and takes one that prints a Secret", found=taken)
