"""The environment of a test run: brought up when it is first asked for, removed at the end.

Tests and notebooks of one run share it. It is removed only if this run made it, and not
with --lab-keep: what a person brought up before stays. A failure to bring it up is
remembered, so that a hundred tests do not try a hundred times.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from harness.base.errors import LabError, UsageError
from harness.supply import surroundings

if TYPE_CHECKING:
    from harness.environment.environment import Environment
    from harness.lab.access import Access


class SessionEnvironment:
    """Brings the run's environment up once, and removes it if this run made it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._made: Environment | None = None
        self._access: Access | None = None
        self._installed: set[str] = set()
        self._error: LabError | None = None

    def access(self, needs: tuple[str, ...] = ()) -> Access:
        """How to reach the environment, with these integrations installed.

        Raises the same LabError each time once it could not be brought up.
        """
        if self._error:
            raise self._error
        if self._access is None or not self._installed.issuperset(needs):
            try:
                self._access = self._up(needs)
            except LabError as error:
                self._error = error
                raise
        return self._access

    def close(self) -> None:
        """Remove the environment if this run made it and nobody asked to keep it."""
        if self._made and not self._config.option.lab_keep:
            from harness.session.leaving import leave

            leave(self._made)
            self._made.down()
        self._made = None

    def _up(self, needs: tuple[str, ...]) -> Access:
        from harness.base.progress import reporting
        from harness.environment.environment import Environment, Options

        # Once more: in a project that does not say that it has to do with labs, nothing has yet.
        surroundings.settle()
        option = self._config.option
        if hasattr(self._config, "workerinput"):
            raise UsageError("live tests share one environment", hint="leave -n out")
        environment = Environment(option.lab_env)
        if option.lab_fresh and self._access is None and environment.record:
            environment.down()
        if not environment.record:
            self._made = environment
        capture = self._config.pluginmanager.getplugin("capturemanager")
        # A person who waits for minutes wants to see what for.
        shown = capture.global_and_fixture_disabled() if capture else nullcontext()
        options = Options(
            supply=option.lab_supply,
            flavour=option.lab_vault,
            needs=needs,
            kubernetes=option.lab_kubernetes,
            kubeconfig=option.lab_kubeconfig,
        )
        with shown, reporting() as progress:
            access = environment.up(options, progress)
        record = environment.record
        self._installed.update(record.needs if record else ())
        return access
