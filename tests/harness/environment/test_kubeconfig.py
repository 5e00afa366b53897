"""A person's kubeconfig: one context is taken, its files become content, bad ones are refused."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.base.errors import UsageError
from harness.environment.kubeconfig import current_context, server_of


def entry(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, kind: fields}


def written(folder: Path, **changes: Any) -> Path:
    """A kubeconfig with two contexts, the current one with files beside it."""
    (folder / "ca.crt").write_text("the CA")
    config = {
        "current-context": "team",
        "contexts": [
            entry("context", "other", cluster="other", user="other"),
            entry("context", "team", cluster="kind-team", user="admin", namespace="theirs"),
        ],
        "clusters": [
            entry("cluster", "other", server="https://elsewhere:6443"),
            entry(
                "cluster",
                "kind-team",
                server="https://127.0.0.1:4711",
                **{"certificate-authority": "ca.crt"},
            ),
        ],
        "users": [
            entry("user", "other", token="not-to-be-copied"),
            entry("user", "admin", tokenFile="token", **{"client-key-data": "a2V5"}),
        ],
        **changes,
    }
    file = folder / "config"
    file.write_text(yaml.safe_dump(config))
    return file


def test_the_copy_holds_the_current_context_and_means_the_same_elsewhere(tmp_path: Path) -> None:
    found = current_context(written(tmp_path))
    assert server_of(found) == "https://127.0.0.1:4711"
    assert "not-to-be-copied" not in yaml.safe_dump(found)
    (cluster,) = found["clusters"]
    assert cluster["cluster"] == {
        "server": "https://127.0.0.1:4711",
        "certificate-authority-data": base64.b64encode(b"the CA").decode(),
    }
    (user,) = found["users"]
    assert user["user"] == {"client-key-data": "a2V5", "tokenFile": str(tmp_path / "token")}
    # The labs have namespaces of their own.
    assert "theirs" not in yaml.safe_dump(found)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"current-context": ""}, "has no current context"),
        ({"current-context": "gone"}, "has no context 'gone'"),
        ({"clusters": []}, "has no cluster 'kind-team'"),
        ({"users": None}, "has no user 'admin'"),
    ],
)
def test_what_is_not_in_it_is_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(UsageError, match=sentence) as refused:
        current_context(file)
    assert refused.value.where == str(file)


def test_a_file_that_is_not_one_gets_a_sentence_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        current_context(tmp_path / "none")
    broken = tmp_path / "broken"
    broken.write_text("token: {hidden-value\n- x")
    with pytest.raises(UsageError, match="is not YAML") as refused:
        current_context(broken)
    assert "hidden-value" not in str(refused.value)
    broken.write_text("just text")
    with pytest.raises(UsageError, match="holds no contexts"):
        current_context(broken)
    file = written(tmp_path)
    (tmp_path / "ca.crt").unlink()
    with pytest.raises(UsageError, match="names cannot be read"):
        current_context(file)
