"""What a learner should be able to answer after lab 01."""

from __future__ import annotations

from harness.lab.questions import Question

QUESTIONS = (
    Question(
        "A pod of another namespace logs in with your role. Its token is genuine and not expired. "
        "Who says no: Kubernetes or Vault?",
        "Vault. Kubernetes confirms whose token it is. The role lists the namespaces and accounts "
        "that may use it, and this one is not on the list.",
    ),
    Question(
        "Your policy allows `kv/app`, and reading the secret `app` of the KV v2 engine `kv` is "
        "refused. Why?",
        "A policy names the paths of the API, and KV version 2 keeps values below `data/`. The "
        "policy must say `kv/data/app`; the `vault kv` command adds the word for you.",
    ),
    Question(
        "You delete a pod. What can a thief still do with the Vault token that it got?",
        "Everything that its policies allow, until its time to live runs out or somebody revokes "
        "it. Vault does not hear that the pod is gone. Short lives and revocation are your "
        "answer.",
    ),
)
