"""The Lab object of lab 03. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab
from labs.lab03_injector.picture import PICTURE
from labs.lab03_injector.questions import QUESTIONS

injector = Lab(
    "03",
    "The Agent injector",
    minutes=105,
    needs=("postgres", "injector"),
    goal="A pod asks by annotation, and a Vault Agent appears beside its application: it logs "
    "in, writes secrets to files in memory, and keeps them fresh.",
    picture=PICTURE,
    remember=(
        "The application reads files; a webhook wrote the rest of the pod. Look at the stored "
        "pod, not at your manifest.",
        "The init agent makes the first files, the sidecar keeps them fresh. Take what you need: "
        "each agent costs memory, and a sidecar keeps a Job from ending.",
        "A denial says why at creation; a wrong role or path shows in the log of "
        "vault-agent-init, while the pod waits.",
        "failurePolicy decides what happens while the webhook is down: pods without secrets, or "
        "no pods.",
    ),
    questions=QUESTIONS,
)
