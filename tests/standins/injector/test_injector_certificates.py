"""Certificates made, renewed and shared: at no moment does a replica serve one that the
published CA bundle does not cover."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import DNSName, IPAddress, SubjectAlternativeName, verification

from standins.common.election import Election
from standins.common.flags import BadFlag
from standins.injector import certificates
from standins.injector.certificate_context import ServingContext, openssl_name
from standins.injector.certificates import Authority, KeyPair, trusted_bundle
from standins.injector.keeper import AutoKeeper, FileKeeper
from standins.injector.kube import CERT_SECRET, LEASE
from tests.standins.injector.memory_cluster import CONFIG, NAMESPACE, InjectorCluster
from tests.standins.injector.support import StillKeeper, a_pod, a_review, running

HOST = "vault-agent-injector-svc.vault-injector.svc"
START = datetime(2026, 11, 1, tzinfo=UTC)


def trusts(bundle: bytes, pair: KeyPair, at: datetime, host: str = HOST) -> bool:
    """Whether a TLS client with this CA bundle accepts the certificate at that time."""
    roots = certificates.certificates(bundle)
    if not roots:
        return False
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(roots))
        .time(at)
        .build_server_verifier(DNSName(host))
    )
    try:
        verifier.verify(certificates.first(pair.cert), [])
    except verification.VerificationError:
        return False
    return True


@dataclass
class Time:
    """One clock for dates and for seconds, moved by hand."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.seconds

    def now(self) -> datetime:
        """The date."""
        return START + timedelta(seconds=self.seconds)


@dataclass
class Replicas:
    """Replicas of the injector over one cluster, each doing a round when told to."""

    cluster: InjectorCluster = field(default_factory=InjectorCluster)
    time: Time = field(default_factory=Time)
    keepers: dict[str, AutoKeeper] = field(default_factory=dict)
    elections: dict[str, Election] = field(default_factory=dict)
    serving: dict[str, KeyPair] = field(default_factory=dict)
    published: list[tuple[float, bytes]] = field(default_factory=list)

    def start(self, name: str) -> None:
        """Start a replica, or start it anew."""
        election = Election(self.cluster, NAMESPACE, LEASE, name, clock=self.time.monotonic)
        self.elections[name] = election
        self.keepers[name] = AutoKeeper(
            self.cluster.view,
            [HOST],
            webhook=CONFIG,
            election=election,
            clock=self.time.monotonic,
            now=self.time.now,
        )

    def stop(self, name: str) -> None:
        """Stop a replica at once, without a goodbye."""
        del self.keepers[name], self.elections[name]
        self.serving.pop(name, None)

    def end(self, name: str) -> None:
        """End a replica in good order."""
        asyncio.run(self.keepers[name].end())
        self.stop(name)

    def round(self, name: str) -> KeyPair | None:
        """One round of one replica; then nobody may serve what is not trusted."""
        pair = asyncio.run(self.keepers[name].round())
        if pair:
            self.serving[name] = pair
        self.check()
        return pair

    def check(self) -> None:
        """The invariant of this module, also for an API server that lags 2 seconds."""
        self.published.append((self.time.seconds, self.cluster.bundle))
        late = [pem for at, pem in self.published if at <= self.time.seconds - 2 and pem]
        for name, pair in self.serving.items():
            for bundle in (self.cluster.bundle, *late[-1:]):
                trusted = trusts(bundle, pair, self.time.now())
                assert trusted, f"{name} serves what nobody trusts at {self.time.seconds} s"

    def pass_time(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass, every replica doing its rounds."""
        until = self.time.seconds + seconds
        while self.time.seconds < until:
            self.time.seconds = min(self.time.seconds + step, until)
            for name in list(self.keepers):
                self.round(name)

    @property
    def leader(self) -> list[str]:
        """Who leads."""
        return [name for name, election in self.elections.items() if election.leading]


def test_first_replica_is_ready_at_once_and_the_second_serves_the_same() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.start("b")
    assert replicas.round("b") is not None
    assert replicas.cluster.log == ["publish", "share"]
    replicas.round("a")
    assert replicas.serving["a"] == replicas.serving["b"]
    assert replicas.leader == ["b"]
    assert len(certificates.certificates(replicas.cluster.bundle)) == 1


def test_certificate_is_renewed_in_its_last_tenth() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.start("b")
    replicas.pass_time(10)
    old = replicas.serving["a"]
    replicas.pass_time(21 * 3600, step=600)
    assert replicas.serving["a"] == old
    replicas.pass_time(3600, step=300)
    assert replicas.serving["a"] != old
    assert replicas.serving["a"] == replicas.serving["b"]
    # The CA stayed, so the bundle did too.
    assert replicas.cluster.log.count("publish") == 1


def test_days_of_renewals_without_a_gap() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.start("b")
    replicas.pass_time(96 * 3600, step=3600)
    assert replicas.cluster.log.count("share") >= 4


def test_leader_that_ends_hands_over_at_once() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.start("b")
    replicas.pass_time(10)
    first = replicas.serving["b"]
    replicas.end("a")
    replicas.round("b")
    assert replicas.leader == ["b"]
    # The new CA is published beside the old one; what is served does not change yet.
    assert len(certificates.certificates(replicas.cluster.bundle)) == 2
    assert replicas.serving["b"] == first
    replicas.pass_time(1)
    assert replicas.serving["b"] == first
    replicas.pass_time(5)
    assert replicas.serving["b"] != first
    assert trusts(replicas.cluster.bundle, first, replicas.time.now())


def test_leader_that_dies_is_followed_after_its_lease() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.start("b")
    replicas.pass_time(10)
    replicas.stop("a")
    replicas.pass_time(10)
    assert replicas.leader == []
    replicas.pass_time(10)
    assert replicas.leader == ["b"]
    assert replicas.cluster.lease["leaseTransitions"] == 1


def test_rolling_update_replaces_both_without_a_gap() -> None:
    replicas = Replicas()
    for name in ("a", "b"):
        replicas.start(name)
    replicas.pass_time(60)
    for old, new in (("a", "c"), ("b", "d")):
        replicas.start(new)
        replicas.pass_time(10)
        assert new in replicas.serving
        replicas.end(old)
        replicas.pass_time(30)
    assert set(replicas.serving) == {"c", "d"}


def test_leader_restarting_all_the_time_keeps_the_bundle_small_and_right() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.start("b")
    for _ in range(30):
        replicas.pass_time(10)
        replicas.start("a")
    replicas.pass_time(20)
    assert len(certificates.certificates(replicas.cluster.bundle)) <= certificates.MAX_CAS
    assert replicas.serving["a"] == replicas.serving["b"]


def test_old_ca_leaves_the_bundle_when_its_last_certificate_has_run_out() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.pass_time(10)
    replicas.end("a")
    replicas.start("b")
    replicas.pass_time(23 * 3600, step=900)
    assert len(certificates.certificates(replicas.cluster.bundle)) == 2
    replicas.pass_time(2 * 3600, step=900)
    assert len(certificates.certificates(replicas.cluster.bundle)) == 1


def test_bundle_that_somebody_empties_is_restored() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.pass_time(10)
    replicas.cluster.configure(b"", b"")
    replicas.pass_time(5)
    before = replicas.serving["a"]
    replicas.pass_time(30)
    assert replicas.serving["a"] == before


def test_api_server_that_is_down_changes_nothing_that_is_served() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.start("b")
    replicas.pass_time(10)
    before = dict(replicas.serving)
    replicas.cluster.down = True
    replicas.pass_time(3600, step=60)
    assert replicas.serving == before
    assert replicas.leader == []
    replicas.cluster.down = False
    replicas.pass_time(20)
    assert len(replicas.leader) == 1


def test_no_certificate_while_the_api_server_was_never_seen() -> None:
    replicas = Replicas()
    replicas.cluster.down = True
    replicas.start("a")
    assert replicas.round("a") is None


def test_secret_that_is_deleted_or_garbage_is_written_again() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.pass_time(10)
    replicas.cluster.remove("Secret", NAMESPACE, CERT_SECRET)
    replicas.pass_time(5)
    assert replicas.cluster.shared == replicas.serving["a"]
    garbage = {"data": {"cert": "QQ==", "key": "QQ=="}}
    replicas.cluster.edit("Secret", NAMESPACE, CERT_SECRET, garbage)
    replicas.pass_time(5)
    assert replicas.cluster.shared == replicas.serving["a"]


def test_webhook_configuration_may_come_later() -> None:
    replicas = Replicas(InjectorCluster(configured=False))
    replicas.start("a")
    pair = asyncio.run(replicas.keepers["a"].round())
    assert pair
    replicas.cluster.configure(b"", b"")
    replicas.round("a")
    assert len(replicas.cluster.hooks) == 2
    assert trusts(replicas.cluster.bundle, pair, replicas.time.now())


def test_losing_a_write_to_somebody_else_is_made_good_in_the_next_round() -> None:
    replicas = Replicas()
    replicas.start("a")
    replicas.pass_time(10)
    replicas.end("a")
    replicas.start("b")
    replicas.cluster.conflicts = 2
    replicas.pass_time(5)
    assert "b" in replicas.serving
    replicas.pass_time(20)
    assert replicas.cluster.conflicts == 0
    assert replicas.cluster.shared == replicas.serving["b"]
    assert len(certificates.certificates(replicas.cluster.bundle)) == 2


def test_ca_is_renewed_long_before_its_end_with_overlap() -> None:
    time, cluster = Time(), InjectorCluster()
    keeper = AutoKeeper(
        cluster.view,
        [HOST],
        webhook=CONFIG,
        leaf_life=timedelta(hours=1),
        ca_life=timedelta(hours=10),
        clock=time.monotonic,
        now=time.now,
    )
    cas, most = set(), 0
    for _ in range(6 * 40):
        time.seconds += 600
        pair = asyncio.run(keeper.round())
        assert pair
        assert trusts(cluster.bundle, pair, time.now())
        bundle = certificates.certificates(cluster.bundle)
        cas |= set(bundle)
        most = max(most, len(bundle))
    assert len(cas) >= 3
    assert most == 2


def test_pair_shows_no_key_and_leaf_says_what_it_is_for() -> None:
    authority = Authority()
    pair = authority.issue([HOST, "127.0.0.1"])
    assert "KEY" not in repr(pair)
    leaf, ca = certificates.first(pair.cert), certificates.first(authority.pem)
    names = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert names.get_values_for_type(DNSName) == [HOST]
    assert [str(each) for each in names.get_values_for_type(IPAddress)] == ["127.0.0.1"]
    assert ca.subject.rfc4514_string() == "CN=Agent Inject CA"
    assert leaf.subject.rfc4514_string() == "CN=Agent Inject Service"
    assert ca.not_valid_after_utc - ca.not_valid_before_utc >= timedelta(days=3650)
    assert timedelta(hours=24) <= leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert authority.signed(pair)
    assert not Authority().signed(pair)


def test_bundle_drops_what_is_no_certificate() -> None:
    old, new = Authority(), Authority()
    broken = b"\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + old.pem
    bundle = trusted_bundle(new.pem, broken, certificates.LEAF_LIFE, certificates.now())
    assert bundle == new.pem + old.pem


def test_pair_with_another_key_is_not_readable() -> None:
    one, two = Authority().issue([HOST]), Authority().issue([HOST])
    assert one.readable
    assert not KeyPair(one.cert, two.key).readable
    assert not KeyPair(b"", b"").readable
    assert not KeyPair(b"x", one.key).readable


def test_certificate_changes_under_open_connections() -> None:
    async def check() -> None:
        async with running() as injector:
            body = str(a_review(a_pod())).encode()
            await injector.post(body)
            old = injector.keeper.pair
            assert old
            new = injector.keeper.authority.issue(["127.0.0.1"])
            injector.context.use(new)
            # The old connection still works; a new one sees the new certificate.
            assert (await injector.post(body))[0] == 500
            trust = ssl.create_default_context(cadata=injector.keeper.authority.pem.decode())
            _, writer = await asyncio.open_connection("127.0.0.1", injector.port, ssl=trust)
            served = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            expected = ssl.PEM_cert_to_DER_cert(new.cert.decode())
            assert served == expected

    asyncio.run(check())


def test_lowest_tls_version_and_ciphers() -> None:
    pair = StillKeeper().pair
    assert pair
    context = ServingContext("tls13", "")
    context.use(pair)
    assert context.ssl.minimum_version is ssl.TLSVersion.TLSv1_3
    chosen = ServingContext("tls12", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    below_13 = [c["name"] for c in chosen.ssl.get_ciphers() if c["protocol"] != "TLSv1.3"]
    assert below_13 == ["ECDHE-ECDSA-AES128-GCM-SHA256"]
    with pytest.raises(BadFlag, match="TLS_CIPHER_SUITES"):
        ServingContext("tls12", "TLS_NONSENSE")


@pytest.mark.parametrize(
    ("iana", "openssl"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ],
)
def test_cipher_names(iana: str, openssl: str) -> None:
    assert openssl_name(iana) == openssl
    known = [c["name"] for c in ServingContext("tls12", iana).ssl.get_ciphers()]
    assert openssl in known


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    authority, cluster = Authority(), InjectorCluster()
    cert, key, ca = (tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt"))
    keeper = FileKeeper(cert, key, ca, cluster.view, CONFIG)
    assert asyncio.run(keeper.round()) is None
    first = authority.issue([socket.gethostname()])
    ca.write_bytes(authority.pem)
    cert.write_bytes(first.cert)
    key.write_bytes(first.key)
    assert asyncio.run(keeper.round()) == first
    assert cluster.bundle == authority.pem
    second = authority.issue([socket.gethostname()])
    cert.write_bytes(second.cert)
    assert asyncio.run(keeper.round()) == first
    key.write_bytes(second.key)
    assert asyncio.run(keeper.round()) == second
    assert cluster.log == ["publish"]
