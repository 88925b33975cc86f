"""The signed mark: a C2PA manifest that says "trained algorithmic media", made offline.

The certificate is this machine's own, made on first use in the user's data folder: it proves that a file
was not altered since, not who wrote it. Verifiers report the signer as not trusted, rightly.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from pathagent_tools.core.files import write_bytes_atomic

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FOLDER_VARIABLE: Final = "PATHAGENT_CERTIFICATES"
_DAYS: Final = 3650


def signed(data: bytes, mime: str, *, title: str, made_by: str, record: dict[str, Any]) -> bytes:
    """The file `data` with a manifest in it. `record` (seed, task, request) stands there as an assertion."""
    target = io.BytesIO()
    _sign(io.BytesIO(data), target, mime, title=title, made_by=made_by, record=record, apart=False)
    return target.getvalue()


def manifest_for(path: Path, mime: str, *, title: str, made_by: str, record: dict[str, Any]) -> bytes:
    """The manifest of a file that stays as it is, to lie beside it."""
    with path.open("rb") as source, tempfile.TemporaryFile() as nowhere:
        return _sign(source, nowhere, mime, title=title, made_by=made_by, record=record, apart=True)


def _sign(
    source: Any, target: Any, mime: str, *, title: str, made_by: str, record: dict[str, Any], apart: bool
) -> bytes:
    import c2pa

    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    manifest = {
        "claim_generator_info": [{"name": "PathAgent", "version": made_by}],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": "org.pathagent.synthetic", "data": record},
        ],
    }
    chain, key = certificates()
    info = c2pa.C2paSignerInfo(b"es256", chain, key, None)
    settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Context(settings) as context,
        c2pa.Builder(json.dumps(manifest), context) as builder,
    ):
        if apart:
            builder.set_no_embed()
        return bytes(builder.sign(signer, mime, source, target))


def manifest_of(file: BinaryIO, mime: str, *, sidecar: Path | None = None) -> dict[str, Any] | None:
    """The active manifest of a file: `synthetic`, `intact`, `record`; None where it has none.

    sidecar: a file that holds the manifest where the image itself has none.
    """
    import c2pa

    apart = sidecar.read_bytes() if sidecar is not None and sidecar.is_file() else None
    try:
        with c2pa.Reader(mime, file, manifest_data=apart) as reader:
            active = reader.get_active_manifest() or {}
            state = str(reader.get_validation_state())
            problems = reader.get_validation_results() or {}
    except c2pa.C2paError:
        return None
    assertions = {a.get("label", ""): a.get("data", {}) for a in active.get("assertions", [])}
    actions = [x for label, d in assertions.items() if label.startswith("c2pa.actions") for x in d["actions"]]
    failures = problems.get("activeManifest", {}).get("failure", [])
    altered = [f for f in failures if f.get("code") != "signingCredential.untrusted"]
    return {
        "synthetic": any(a.get("digitalSourceType") == SOURCE_TYPE for a in actions),
        "intact": not altered,
        "state": state,
        "record": assertions.get("org.pathagent.synthetic", {}),
    }


def certificates() -> tuple[bytes, bytes]:
    """(certificate chain, private key) of this machine as PEM, made on first use; the key is readable by
    its owner only."""
    from platformdirs import user_data_path

    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else user_data_path("pathagent") / "certificates"
    chain, key = folder / "chain.pem", folder / "key.pem"
    if not (chain.is_file() and key.is_file()):
        made_chain, made_key = _made()
        write_bytes_atomic(key, made_key)
        key.chmod(0o600)
        write_bytes_atomic(chain, made_chain)
    return chain.read_bytes(), key.read_bytes()


def _made() -> tuple[bytes, bytes]:
    """A root of our own and a signing certificate under it, P-256, as the C2PA profile asks."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "PathAgent, self-made on this machine"),
                x509.NameAttribute(NameOID.COMMON_NAME, text),
            ]
        )

    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    start = datetime.now(UTC) - timedelta(minutes=5)

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.CertificateBuilder:
        usage = x509.KeyUsage(
            digital_signature=not ca, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name("PathAgent local root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=_DAYS))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
            )
        )

    root = builder(name("PathAgent local root"), root_key, ca=True).sign(root_key, hashes.SHA256())
    leaf = (
        builder(name("PathAgent synthetic images"), leaf_key, ca=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    chain = leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM)
    return chain, leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
