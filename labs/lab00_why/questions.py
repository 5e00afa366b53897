"""What a learner should be able to answer after lab 00."""

from __future__ import annotations

from harness.lab.questions import Question

QUESTIONS = (
    Question(
        "An account may `list` Secrets, but not `get` them. Is the value safe?",
        "No. A list holds whole objects, with their values.",
    ),
    Question(
        "A colleague may create pods in your namespace and has no right on Secrets. Can the "
        "colleague read your password?",
        "Yes. A pod that names the Secret gets it, and prints it. Kubernetes does not ask whether "
        "the author of the pod may read it.",
    ),
    Question(
        "A password leaked last week. Today you switch the audit log on. Does it help to find the "
        "reader?",
        "Not for last week: the log knows only what is read from now on. A pod that mounts the "
        "Secret appears as its node, and a reader of etcd does not appear at all.",
    ),
)
