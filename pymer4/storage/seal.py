"""A check sum behind the content of a model file, where readers of HDF5 do not look.

HDF5 knows where its content ends, and passes over what follows. There stand 13 bytes that say what comes, and the
SHA-256 of all before them: one flipped bit anywhere, in a table too, is told and not loaded.
"""

from __future__ import annotations

import hashlib

_MAGIC = b"\npymer4-sha256"
_LENGTH = len(_MAGIC) + hashlib.sha256().digest_size


def sealed(content: bytes) -> bytes:
    """Return the content of a file with its check sum behind it."""
    return content + _MAGIC + hashlib.sha256(content).digest()


def seal_holds(content: bytes) -> bool | None:
    """Whether a file is as it was sealed; None where it bears no seal."""
    body, seal = content[:-_LENGTH], content[-_LENGTH:]
    if not seal.startswith(_MAGIC):
        return None
    return seal == _MAGIC + hashlib.sha256(body).digest()
