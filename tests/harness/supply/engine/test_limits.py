"""The way out of this host, and what an engine is started with because of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.supply.engine import limits, options

# /proc/net/route, cut to the first columns that are read.
ROUTES = """\
Iface\tDestination\tGateway \tFlags
docker0\t000011AC\t00000000\t0001
{interface}\t00000000\t010200C0\t0003
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(limits, "_ROUTES", tmp_path / "route")
    monkeypatch.setattr(limits, "_INTERFACES", tmp_path)
    monkeypatch.setattr(limits, "lacks_sys_resource", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def way_out(host: Path, mtu: int) -> None:
    (host / "route").write_text(ROUTES.format(interface="wg0"), encoding="ascii")
    (host / "wg0").mkdir()
    (host / "wg0" / "mtu").write_text(f"{mtu}\n", encoding="ascii")


@pytest.mark.parametrize(("mtu", "given"), [(1500, []), (9000, []), (1380, ["--mtu=1380"])])
def test_an_engine_sends_no_larger_packets_than_fit(host: Path, mtu: int, given: list[str]) -> None:
    way_out(host, mtu)
    assert limits.way_out() == ("wg0", mtu)
    assert options.for_this_host() == given


def test_a_host_without_a_network_has_no_way_out(host: Path) -> None:
    assert limits.way_out() is None
    (host / "route").write_text("Iface\tDestination\n", encoding="ascii")
    assert limits.way_out() is None
    assert options.for_this_host() == []


def test_a_host_without_the_capability_gets_the_wrapper(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "lacks_sys_resource", lambda: True)
    added, default = options.for_this_host()
    assert default == "--default-runtime=runc-reduced"
    assert Path(added.partition("=runc-reduced=")[2]).stat().st_mode & 0o111
