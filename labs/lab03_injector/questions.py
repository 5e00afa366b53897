"""What a learner should be able to answer after lab 03."""

from __future__ import annotations

from harness.lab.questions import Question

QUESTIONS = (
    Question(
        "`kubectl get deployment` shows no agent, yet each pod has one. Where does it come from?",
        "A mutating webhook changes pods, not Deployments, at the moment in which they are "
        "created. Look at the stored pod.",
    ),
    Question(
        "Your Job has done its work, and its pod does not end. What keeps it?",
        "The agent beside it. A Job needs the init agent alone (`agent-pre-populate-only`), or it "
        "must ask the agent to quit when it is done.",
    ),
    Question(
        "The injector is away for ten minutes. Is `failurePolicy: Ignore` or `Fail` the better "
        "choice?",
        "It depends on what hurts less. With Ignore new pods start without agent and without "
        "secrets, and nobody is told. With Fail no pod that the webhook selects is created. "
        "Running pods do not notice in either case.",
    ),
)
