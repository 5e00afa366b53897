"""What a learner should be able to answer after lab 02."""

from __future__ import annotations

from harness.lab.questions import Question

QUESTIONS = (
    Question(
        "Somebody changes the password in Vault. Your pod has it as a file, as a variable from a "
        "synced Secret, and as a subPath mount. Which of the three changes?",
        "The file, at the driver's next rotation, when rotation is switched on. The synced Secret "
        "changes too, but a variable is read at the start of the container and a subPath mount "
        "keeps the file it began with.",
    ),
    Question(
        "Vault is down for an hour. What happens to a running pod, and to a new one?",
        "The running pod keeps its files and notices nothing. The new one waits: kubelet cannot "
        "mount its volume, says so in an event, and tries again until Vault is back.",
    ),
    Question(
        "Whom must a policy of Vault allow to read the secret: the driver, the provider, or the "
        "pod?",
        "The pod's service account. The provider logs in with a token of that account and has no "
        "rights of its own.",
    ),
)
