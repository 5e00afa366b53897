"""The Lab object of lab 01. Its steps stand in the modules beside it, their order in steps.py."""

from __future__ import annotations

from harness import Lab
from labs.lab01_http_api.picture import PICTURE
from labs.lab01_http_api.questions import QUESTIONS

http_api = Lab(
    "01",
    "The HTTP API",
    minutes=120,
    needs=("postgres",),
    goal="A pod proves who it is with its own service-account token and gets from Vault what "
    "it may have, and nothing else: with curl, over TLS, so that nothing is hidden.",
    picture=PICTURE,
    remember=(
        "Kubernetes vouches for the pod, Vault decides what it may have: nobody handed out "
        "a password to get a password.",
        "A policy names paths. What it does not name is refused, and a refusal has a reason: "
        "read the text, not only the status.",
        "Every credential has an owner and a way to end it early; nearly all have a time to live.",
        "Doing all this in the application couples it to Vault; labs 02 to 04 take that away.",
    ),
    questions=QUESTIONS,
)
