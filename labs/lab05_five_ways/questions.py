"""What a learner should be able to answer after lab 05."""

from __future__ import annotations

from harness.lab.questions import Question

QUESTIONS = (
    Question(
        "An auditor allows no copy of the password in etcd. Which of the five ways are left?",
        "The HTTP API, CSI without `secretObjects`, and the injector. The plain Secret and the "
        "operator's Secret lie in etcd.",
    ),
    Question(
        "Vault's audit log shows a read by your shop's service account. Which way was it?",
        "You cannot tell from the identity: the HTTP API, CSI, the injector and the operator all "
        "log in as the shop's account. That is an advantage: one policy serves all of them.",
    ),
    Question(
        "The password was changed an hour ago and the running process still uses the old one. In "
        "which of the ways can that happen?",
        "In all of them. A new file helps only a process that reads it again, and a variable "
        "never changes. The operator can restart the workload for you; the others leave that to "
        "you.",
    ),
)
