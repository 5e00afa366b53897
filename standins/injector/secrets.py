"""The secrets a pod asks for: one file each, rendered from one template.

A secret exists as soon as one annotation of the three families names it with a value:
`agent-inject-secret-NAME`, `agent-inject-template-NAME` or
`agent-inject-template-file-NAME`. All others of that NAME only adjust it. NAME becomes
the file's name, in lower case unless the pod asks to preserve it.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from standins.common import values
from standins.injector.annotations import SECRET_FAMILIES, Notes, parsed

MAP_TEMPLATE = (
    '{{ with secret "%s" }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}'
)
JSON_TEMPLATE = '{{ with secret "%s" }}{{ .Data | toJSON }}\n{{ end }}'


@dataclass(frozen=True)
class Secret:
    """One file to render. Either `template` or `template_file` is set."""

    name: str
    folder: str
    file: str
    template: str
    template_file: str
    command: str
    permissions: str
    left_delimiter: str
    right_delimiter: str
    error_on_missing_key: bool

    @property
    def destination(self) -> str:
        """Where the agent writes it."""
        if not self.file:
            return f"{self.folder}/{self.name}"
        path = posixpath.normpath(f"{self.folder}/{self.file}")
        return "/" + path.lstrip("/") if path.startswith("/") else path


def read(notes: Notes) -> list[Secret]:
    """All secrets, in the order of their names. Raises AnnotationError."""
    return [_secret(notes, name) for name in names(notes)]


def names(notes: Notes) -> list[str]:
    """The names of the secrets as the annotations spell them, sorted."""
    found: set[str] = set()
    for family in SECRET_FAMILIES:
        for name, value in notes.family(family).items():
            shadowed = family == "agent-inject-template-" and name.startswith("file-")
            if value.strip() and name and not shadowed:
                found.add(name)
    return sorted(found)


def _secret(notes: Notes, name: str) -> Secret:
    template = notes.of_secret("agent-inject-template-", name)
    template_file = "" if template else notes.of_secret("agent-inject-template-file-", name)
    if not template and not template_file:
        kind = notes.text("agent-inject-default-template").lower()
        path = notes.of_secret("agent-inject-secret-", name)
        template = (JSON_TEMPLATE if kind == "json" else MAP_TEMPLATE) % path
    missing = "error-on-missing-key-"
    return Secret(
        name=name if _preserve(notes, name) else name.lower(),
        folder=notes.of_secret("secret-volume-path-", name, notes.text("secret-volume-path")),
        file=notes.of_secret("agent-inject-file-", name),
        template=template,
        template_file=template_file,
        command=notes.of_secret("agent-inject-command-", name),
        permissions=notes.of_secret("agent-inject-perms-", name),
        left_delimiter=notes.of_secret("agent-template-left-delim-", name) or "{{",
        right_delimiter=notes.of_secret("agent-template-right-delim-", name) or "}}",
        error_on_missing_key=parsed(
            missing + name, notes.of_secret(missing, name), values.parse_bool
        ),
    )


def _preserve(notes: Notes, name: str) -> bool:
    own = notes.of_secret("preserve-secret-case-", name, notes.text("preserve-secret-case"))
    # Upstream takes a value that is no bool for false here, and only here.
    return own in values.TRUE
