"""Encrypted payloads: base64 of a nonce and of libsodium's secret box, whose key is the passphrase, filled up with zeros.

Source: https://owntracks.org/booklet/features/encrypt/
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from tracker_protocols.model import BadFrame, Reason

KEY_BYTES: Final = 32


def _box(key: bytes) -> Any:
    from nacl.secret import SecretBox

    return SecretBox(key[:KEY_BYTES].ljust(KEY_BYTES, b"\0"))


def opened(data: Any, key: bytes) -> bytes:
    """What is inside the ``data`` of an encrypted object. Raises BadFrame."""
    from nacl.exceptions import CryptoError

    try:
        return _box(key).decrypt(base64.b64decode(data, validate=True))
    except (CryptoError, binascii.Error, ValueError, TypeError):
        raise BadFrame(Reason.CHECKSUM, "encrypted, and not with the key that is set") from None


def sealed(inner: bytes, key: bytes) -> bytes:
    """An object, encrypted, as an object."""
    data = base64.b64encode(_box(key).encrypt(inner)).decode()
    return msgspec.json.encode({"_type": "encrypted", "data": data})
