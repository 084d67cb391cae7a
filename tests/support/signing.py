"""Keys to sign messages with, and the Celery configuration that names them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


def make_keys(folder: Path, module: str) -> None:
    """Make a key, a store with its certificate alone, and the module that names them, all in a folder."""
    store = folder / f"{module}.store"
    store.mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, module)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / f"{module}.key").write_bytes(pem)
    (store / "own.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{module}.py").write_text(
        f"security_key = {str(folder / f'{module}.key')!r}\n"
        f"security_certificate = {str(store / 'own.pem')!r}\n"
        f"security_cert_store = {str(store / '*.pem')!r}\n"
        "security_digest = 'sha512'\n"
    )
