"""The keys anchors are signed and verified with: Ed25519, in PEM files."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from signoff.errors import ConfigurationError

_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_SECRET = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES = 1_000_000


def make_pair(file: Path) -> Path:
    """Write a new private key to `file`, for its owner alone, and the public one beside it as `file`.pub.

    Answers the latter. Raises ConfigurationError where one of them is there already, or can't be written.
    """
    key, public = Ed25519PrivateKey.generate(), file.with_name(f"{file.name}.pub")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _create(file, pem, 0o600)
    try:
        _create(public, public_pem(key.public_key()), 0o644)
    except ConfigurationError:
        # The private key was made a moment ago and has signed nothing.
        file.unlink()
        raise
    return public


def read_private(file: Path) -> Ed25519PrivateKey:
    """The key that signs. Raises ConfigurationError, also when others than its owner may read the file."""
    data = _read(file, secret=True)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{file} is no private key in PEM without a password", fix=_MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{file} is a key of another kind than Ed25519", fix=_MAKE)
    return key


def read_public(file: Path) -> frozenset[str]:
    """The keys, in hexadecimal, whose anchors are believed; after a change of keys the file holds the older ones too.

    Raises ConfigurationError.
    """
    found = set()
    for pem in _PEM.findall(_read(file, secret=False)):
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(f"{file} has a public key that can't be read", fix=_MAKE) from error
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError(f"{file} has a key of another kind than Ed25519", fix=_MAKE)
        found.add(hexadecimal(key))
    if not found:
        raise ConfigurationError(f"{file} has no public key in PEM", fix=_MAKE)
    return frozenset(found)


def hexadecimal(key: Ed25519PublicKey) -> str:
    """The 32 bytes of a public key in hexadecimal."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()


def public_pem(key: Ed25519PublicKey) -> bytes:
    """A public key as a file holds it."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


_MAKE = "make a pair: signoff audit keygen FILE"


def _read(file: Path, *, secret: bool) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            # Of what was opened, not of what stands there now under the same name.
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise ConfigurationError(f"{file} is no file")
            if secret and about.st_mode & _SECRET:
                raise ConfigurationError(f"others than its owner may use {file}", fix=f"chmod 600 {file}")
            return opened.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(f"can't read {file}: {error.strerror}", fix=_MAKE) from error


def _create(file: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise ConfigurationError(
            f"can't write {file}: {error.strerror}", fix="name a file that is not there yet"
        ) from error
