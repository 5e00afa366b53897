"""What a step types: variables of the shell, kubectl apply, bash; shown, redacted, refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness import integrations
from harness.base.errors import NotUp, UsageError
from harness.base.process import CommandFailed
from harness.base.redact import MASK, Secret
from harness.clients.kube import Kube, here_document
from harness.integrations.base import InstallContext, Integration
from harness.lab.context import LabContext
from harness.lab.steps import Lab
from tests.fakes import toylab

# Stands for kubectl: prints its arguments and what it reads.
KUBECTL = "#!/bin/sh\necho \"kubectl $*\"\ncase $* in *'-f -'*) cat;; esac\n"


@pytest.fixture
def shown() -> list[str]:
    """The calls and, indented, the outputs that a listener got."""
    return []


@pytest.fixture
def lab(tmp_path: Path, shown: list[str]) -> LabContext:
    access = replace(
        toylab.access(tmp_path), images={"app": "example/app:1"}, api_server="https://a"
    )
    access.programs.mkdir()
    (access.programs / "kubectl").write_text(KUBECTL)
    (access.programs / "kubectl").chmod(0o755)
    return LabContext(access, toylab.toy, shown.append, lambda text: shown.append(f"  {text}"))


def test_the_shell_of_a_lab_knows_its_namespace_without_being_told(lab: LabContext) -> None:
    variables = lab.shell_variables()
    assert variables["NAMESPACE"] == "lab90"
    assert variables["APP_IMAGE"] == "example/app:1"
    assert variables["NODE"] == "toy-control-plane"
    assert (Path(variables["LAB"]) / "toylab.py").is_file()
    assert "VAULT_TOKEN" not in variables
    own = Path(variables["KUBECONFIG"])
    (entry,) = yaml.safe_load(own.read_text())["contexts"]
    assert entry["context"]["namespace"] == "lab90"
    assert entry["context"]["cluster"] == "kind-toy"
    assert own.stat().st_mode & 0o777 == 0o600
    # The environment's own stays as it is.
    assert "namespace" not in lab.access.kubeconfig.read_text()


def test_a_manifest_is_applied_as_it_stands_but_for_marks_and_variables(
    lab: LabContext, shown: list[str]
) -> None:
    lab.kubectl_apply("""
    kind: Pod
    image: $APP_IMAGE  #? which?
    command: [echo, $(HOME), "$OTHER", "${NAMESPACE}-kv"]
    """)
    text = 'kind: Pod\nimage: example/app:1\ncommand: [echo, $(HOME), "$OTHER", "lab90-kv"]'
    assert shown == [
        f"kubectl apply -f - <<'EOF'\n{text}\nEOF",
        f"  kubectl apply -f -\n{text}",
    ]


def test_a_manifest_of_the_labs_folder_is_shown_once_and_applied(
    lab: LabContext, shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web.yaml").write_text("kind: Pod\nimage: $APP_IMAGE\n")
    monkeypatch.setattr(LabContext, "source", tmp_path)
    text = "kind: Pod\nimage: example/app:1"
    said = f"  kubectl apply -f -\n{text}"
    lab.kubectl_apply(file="web.yaml")
    assert shown == [f"kubectl apply -f - <<'EOF'\n{text}\nEOF", said]
    shown.clear()
    # A notebook does not show the call: there the text comes before what kubectl says.
    lab.on_call = None
    lab.kubectl_apply(file="web.yaml")
    assert shown == [f"  {text}", said]


def test_what_a_lab_needs_brings_its_variables_and_its_secrets_come_with_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shelf(Integration):
        about = "a shelf"

        def apply(self, context: InstallContext) -> str:
            return ""

        def variables(self, state: Path) -> dict[str, str]:
            if not (state / "shelf").exists():
                raise NotUp("there is no shelf")
            return {"SHELF": "oak", "SHELF_KEY": Secret("under-the-mat")}

    monkeypatch.setattr(integrations, "find", lambda name: Shelf())
    access = replace(toylab.access(tmp_path), images={"shelf": "example/shelf:1"})
    needing = replace(toylab.toy, needs=("shelf",))
    assert "SHELF" not in LabContext(access, needing).shell_environment()
    access.state.mkdir(exist_ok=True)
    (access.state / "shelf").touch()
    lab = LabContext(access, needing)
    assert lab.shell_variables()["SHELF_IMAGE"] == "example/shelf:1"
    assert lab.shell_variables()["SHELF"] == "oak"
    assert "SHELF_KEY" not in lab.shell_variables()
    assert lab.shell_environment()["SHELF_KEY"] == "under-the-mat"
    assert "SHELF" not in LabContext(access, toylab.toy).shell_variables()


def test_a_token_is_never_written_into_a_manifest(lab: LabContext, shown: list[str]) -> None:
    lab.kubectl_apply("token: $VAULT_TOKEN")
    assert "token: $VAULT_TOKEN" in shown[0]


def test_commands_run_in_bash_with_the_variables_of_the_shell(
    lab: LabContext, shown: list[str]
) -> None:
    answer = lab.sh("""
    echo $NAMESPACE   #? which?
    kubectl apply -f - <<EOF
    name: $NAMESPACE
    EOF
    [[ $VAULT_ADDR == https://127.0.0.1:1 && -f $KUBECONFIG && -n $VAULT_CACERT ]] && echo set
    """)
    assert answer == "lab90\nkubectl apply -f -\nname: lab90\nset\n"
    assert shown[0].startswith("echo $NAMESPACE\nkubectl apply -f - <<EOF\n")
    assert shown[1] == f"  {answer.rstrip()}"


def test_what_a_command_prints_is_redacted_where_it_is_shown(
    lab: LabContext, shown: list[str]
) -> None:
    assert lab.sh("echo $VAULT_TOKEN").strip() == toylab.TOKEN
    assert shown == ["echo $VAULT_TOKEN", f"  {MASK}"]


@pytest.mark.parametrize(
    "command", ["false\necho on", "false | cat", "echo $(false)$UNSET; exit 3"]
)
def test_the_first_command_that_fails_ends_it(lab: LabContext, command: str) -> None:
    with pytest.raises(CommandFailed):
        lab.sh(command)


def test_a_refusal_that_a_step_shows_is_no_failure_and_its_absence_is_one(
    lab: LabContext, shown: list[str]
) -> None:
    assert lab.sh("echo no; exit 4", fails=True) == "no\n"
    assert shown[-1] == "  no"
    with pytest.raises(CommandFailed, match="should have been refused"):
        lab.sh("echo yes", fails=True)
    with pytest.raises(CommandFailed, match="gave up after"):
        lab.sh("exec cat </dev/zero >/dev/null", fails=True, timeout=0.3)


@pytest.mark.parametrize("call", [LabContext.sh, LabContext.kubectl_apply])
def test_a_gap_is_refused_before_anything_runs(
    lab: LabContext, shown: list[str], call: Callable[[LabContext, str], str]
) -> None:
    with pytest.raises(UsageError, match="there is still a gap in `name: ____`"):
        call(lab, "kind: Pod\nname: ____\n")
    assert shown == []


def test_nothing_is_shown_while_it_is_quiet(lab: LabContext, shown: list[str]) -> None:
    with lab.quiet():
        assert lab.sh("echo here") == "here\n"
    assert shown == []
    lab.sh("true")
    assert shown == ["true"]


def test_one_command_with_input_is_shown_as_a_here_document(
    lab: LabContext, shown: list[str]
) -> None:
    assert lab.run("cat", stdin="one\nEOF\n") == "one\nEOF\n"
    assert shown == ["cat <<'EOF_'\none\nEOF\nEOF_"]


@pytest.mark.parametrize(
    ("command", "gets"),
    [
        ("cat /secrets/password", ["-c", "cat /secrets/password"]),
        ("grep ' /secrets ' /proc/mounts\necho \"it's $HOME\"", None),
        (["sh", "-c", "echo 'a b'"], ["-c", "echo 'a b'"]),
    ],
)
def test_a_shown_exec_can_be_pasted(
    tmp_path: Path, command: str | list[str], gets: list[str] | None
) -> None:
    kube = object.__new__(Kube)
    kube.namespace = "lab02"
    heard: list[str] = []
    kube._on_call = heard.append
    with pytest.raises(AttributeError):
        # There is no cluster here: what is looked at was said before the call.
        kube.exec("web", command)
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\ncase $* in *" -i "*) cat;; esac\n')
    program.chmod(0o755)
    ran = subprocess.run(
        ["bash", "-c", heard[0]],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    *words, rest = ran.stdout.split("\0")
    assert words[0] == "exec"
    assert "web" in words
    if gets is None:
        assert words[-1] == "sh"
        assert rest == f"{command}\n"
    else:
        assert words[-len(gets) :] == gets


def test_a_here_document_ends_with_a_word_that_is_not_in_it() -> None:
    assert here_document("cat", "a\n") == "cat <<'EOF'\na\nEOF"
    assert here_document("cat", "EOF\nEOF_\n").splitlines()[-1] == "EOF__"


def test_a_lab_without_steps_has_a_shell_as_well(tmp_path: Path) -> None:
    empty = Lab("97", "Empty", minutes=1, goal="g")
    variables = LabContext(toylab.access(tmp_path), empty).shell_variables()
    assert Path(variables["LAB"]).is_dir()
