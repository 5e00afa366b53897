"""What a learner should be able to answer after lab 06."""

from __future__ import annotations

from harness.lab.questions import Question

QUESTIONS = (
    Question(
        "You have just switched encryption on. Is a Secret of last year encrypted in etcd?",
        "No. Only what is written from now on is encrypted. Write every Secret once more, and "
        "change the passwords that lie in old backups.",
    ),
    Question(
        "You replaced the key in the file, and now `kubectl get secrets -A` fails. What do you do?",
        "Give the old key back, as the second one. Then write every Secret again, and only then "
        "take the old key out.",
    ),
    Question(
        "Your Vault runs in the cluster whose Secrets it encrypts. What happens when the whole "
        "cluster is restarted?",
        "Neither can start: the API server needs Vault to read Secrets, and Vault's pod needs the "
        "API server. Keep that Vault outside of the cluster.",
    ),
)
