"""What a learner should be able to answer after lab 04."""

from __future__ import annotations

from harness.lab.questions import Question

QUESTIONS = (
    Question(
        "Who may read the secrets of every consumer?",
        "Whoever controls the operator's namespace: the operator may ask for a token of any "
        "service account. So may everybody who can read the Kubernetes Secrets.",
    ),
    Question(
        "You want to switch the operator off for good. What goes first?",
        "The custom resources. Their finalizers are the operator's: without it nothing takes them "
        "away, and namespaces hang.",
    ),
    Question(
        "A password was changed in Vault an hour ago, the Secret has the new one, and the "
        "application still uses the old one. Why?",
        "A variable from a Secret is read when the container starts. Name the workload in "
        "`rolloutRestartTargets`.",
    ),
)
