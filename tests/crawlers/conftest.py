"""Sites and jobs for the crawler's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fetching import AGENT, ITEM, Answer, Job, Site

from dsray.demo.site import serve


@pytest.fixture
def site() -> Iterator[Callable[..., Site]]:
    """Starts sites; they stop with the test."""
    started: list[Site] = []

    def start(answers: dict[str, Answer], *host: str, **more: Any) -> Site:
        started.append(Site(answers, *host, **more))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def demo() -> Iterator[str]:
    with serve(0, 100) as url:
        yield url


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A job for a start page, with this test's own lake."""

    def make(*start: str, **more: Any) -> Job:
        basic = {
            "lake": f"file://{tmp_path}/lake",
            "start": list(start),
            "item": ITEM,
            "allow_private": True,
            "user_agent": AGENT,
        }
        return {**basic, "retry": {"wait_s": 0.1}, "delay_s": 0, **more}

    return make


@pytest.fixture
def tls_site(site: Callable[..., Site], tmp_path: Path) -> Site:
    """A site whose certificate nobody signed."""
    import ssl

    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secret: Site = site({})
    secret.server.socket = context.wrap_socket(secret.server.socket, server_side=True)
    secret.url = f"https://127.0.0.1:{secret.port}/"
    return secret


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    return folder / "cert.pem", folder / "key.pem"
