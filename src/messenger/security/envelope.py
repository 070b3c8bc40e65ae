"""Checks of encrypted secrets (`POST /e2e/secret_key`): accepts ciphertext envelopes, refuses visible plaintext.

Errors and `repr()` never contain parts of the input, since it may be an unencrypted key.

Algorithms whose lengths are checked (compared in lower case, without `. _ + / -`):

- `aes128gcm`, `aes192gcm`, `aes256gcm`, `aesgcm`, `a256gcm`, `chacha20poly1305`, `chacha20poly1305ietf`: a nonce of
  12 bytes; `xchacha20poly1305`, `xchacha20poly1305ietf`, `secretbox`, `cryptosecretbox`, `xsalsa20poly1305`: of 24.
  The ciphertext is longer than their tag of 16 bytes, or there is a `mac` of 16 bytes or more.
- `msecretstoragev1aeshmacsha2`: a nonce of 16 bytes and a mac of 32 (Matrix client-server API, secret storage).

Refused as algorithms: `none`, `null`, `plain`, `plaintext`, `cleartext`, `identity`, `raw`, `text`, `base64`, `hex`.
Any other name is accepted, with a nonce and an optional mac of 8 to 64 bytes each.

Parameters of the key derivation: the optional fields of `Kdf`. Its salt (16 to 1024 bytes) is optional for `none`,
`hkdf`, `hkdfsha256`, `hkdfsha384` and `hkdfsha512`, whose input is random already.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from messenger.errors import FieldError, MalformedBody, NotEncrypted, SecretTooLarge
from messenger.security.key_shapes import from_base64, holds_private_key, is_bare_key, spells_bare_key

MAX_BYTES = 64 * 1024
_MAX_COST = 2**32 - 1
_MAX_KEY_ID = 255
_MAX_PARAMETER = 64
_TAG_BYTES = 16
_SALT_BYTES = range(16, 1024 + 1)
_NONCE_BYTES = range(8, 64 + 1)
_UNREADABLE = object()


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A struct whose `repr()` hides its content from logs and tracebacks."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


# For the OpenAPI document only: `_ensure` checks this, since msgspec would report other error codes.
_Name = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": 64, "pattern": r"^[A-Za-z0-9._+/-]+$"})]
_Cost = Annotated[int | str | None, Meta(description="0 to 4294967295, or a string of at most 64 characters")]


class Kdf(_Sealed, frozen=True, omit_defaults=True):
    """How the client derives the key of the envelope; the server only stores it."""

    name: _Name
    salt: Annotated[str | None, Meta(description="Base64 of 16 to 1,024 bytes")] = None
    bits: _Cost = None
    block_size: _Cost = None
    cost: _Cost = None
    digest: _Cost = None
    dklen: _Cost = None
    hash: _Cost = None
    info: _Cost = None
    iterations: _Cost = None
    key_length: _Cost = None
    lanes: _Cost = None
    length: _Cost = None
    m: _Cost = None
    memlimit: _Cost = None
    memory: _Cost = None
    memory_cost: _Cost = None
    memory_kib: _Cost = None
    n: _Cost = None
    ops: _Cost = None
    opslimit: _Cost = None
    p: _Cost = None
    parallelism: _Cost = None
    r: _Cost = None
    t: _Cost = None
    time_cost: _Cost = None
    version: _Cost = None


class SecretEnvelope(_Sealed, frozen=True):
    """The secret of an account as encrypted by the client, at most 64 KiB in total; base64 is returned as sent."""

    algorithm: _Name
    kdf: Kdf
    nonce: Annotated[str, Meta(description="Base64 of 8 to 64 bytes")]
    ciphertext: Annotated[str, Meta(description="Base64", extra_json_schema={"minLength": 1, "maxLength": MAX_BYTES})]
    mac: Annotated[str | None, Meta(description="Base64 of 8 to 64 bytes")] = None
    key_id: Annotated[str | None, Meta(description=f"1 to {_MAX_KEY_ID} printable characters")] = None


class _Cipher(NamedTuple):
    nonce: int
    mac: int | None = None


_AEAD_12, _AEAD_24 = _Cipher(12), _Cipher(24)
_CIPHERS = {
    **dict.fromkeys(("aes128gcm", "aes192gcm", "aes256gcm", "aesgcm", "a256gcm"), _AEAD_12),
    **dict.fromkeys(("chacha20poly1305", "chacha20poly1305ietf"), _AEAD_12),
    **dict.fromkeys(("xchacha20poly1305", "xchacha20poly1305ietf"), _AEAD_24),
    **dict.fromkeys(("secretbox", "cryptosecretbox", "xsalsa20poly1305"), _AEAD_24),
    "msecretstoragev1aeshmacsha2": _Cipher(16, mac=32),
}
_NO_CIPHERS = frozenset(["none", "null", "plain", "plaintext", "cleartext", "identity", "raw", "text", "base64", "hex"])
_SALTLESS = frozenset(["none", "hkdf", "hkdfsha256", "hkdfsha384", "hkdfsha512"])
# Unknown fields that an error may name; any other name could itself be a secret.
_NAMEABLE = re.compile(
    "alg|crv|d|data|dp|dq|e|ext|iv|k|key|key_ops|keys|kid|kty|mnemonic|p|passphrase|password|plaintext|private_key|"
    "q|qi|salt|secret|secret_key|seed|tag|use|value|version|x|y"
)

_TOKEN = re.compile(r"[A-Za-z0-9._+/-]{1,64}")
_SEPARATORS = re.compile(r"[._+/-]")


def parse_envelope(raw: bytes, *, msgpack: bool = False) -> SecretEnvelope:
    """Parse the body of a request. Raises SecretTooLarge (over 64 KiB), NotEncrypted or MalformedBody."""
    if len(raw) > MAX_BYTES:
        raise SecretTooLarge
    body = _decoded(raw, msgpack=msgpack)
    if body is _UNREADABLE:
        if is_bare_key(raw) or holds_private_key(raw):
            raise _refused([FieldError("", "private_key", "the body is a private key, not an envelope")])
        raise MalformedBody("The body is not valid MessagePack" if msgpack else "The body is not valid JSON")
    if not isinstance(body, dict):
        raise _refused([FieldError("", "wrong_type", "the body is not an object")])
    _ensure(body)
    return msgspec.convert(body, SecretEnvelope)


def ensure_envelope(envelope: SecretEnvelope) -> None:
    """Raise NotEncrypted unless this looks like a ciphertext with everything needed to decrypt it."""
    _ensure(msgspec.to_builtins(envelope))


def _ensure(body: dict[Any, Any]) -> None:
    # Check the content only if all types are correct.
    faults = list(_form_faults(body)) or list(_content_faults(body))
    if faults:
        raise _refused(faults)


def _refused(faults: list[FieldError]) -> NotEncrypted:
    return NotEncrypted("Only an encrypted envelope can be stored", errors=tuple(faults))


def _decoded(raw: bytes, *, msgpack: bool) -> Any:
    # The caller raises: raised here, the error would have the decoder's error, with parts of the input, as its context.
    try:
        return msgspec.msgpack.decode(raw) if msgpack else msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _form_faults(body: dict[Any, Any]) -> Iterator[FieldError]:
    """Unknown and missing fields, and fields of a wrong type. Null in an optional field counts as missing."""
    yield from _unknown(body, SecretEnvelope.__struct_fields__, "")
    for name, kind in (("algorithm", str), ("kdf", dict), ("nonce", str), ("ciphertext", str)):
        yield from _typed(body, name, name, kind, required=True)
    for name in ("mac", "key_id"):
        yield from _typed(body, name, name, str)
    kdf = body.get("kdf")
    if isinstance(kdf, dict):
        yield from _unknown(kdf, Kdf.__struct_fields__, "kdf")
        yield from _typed(kdf, "name", "kdf.name", str, required=True)
        yield from _typed(kdf, "salt", "kdf.salt", str)
        for name in Kdf.__struct_fields__[2:]:
            yield from _typed(kdf, name, f"kdf.{name}", int, str)


def _unknown(fields: dict[Any, Any], known: Collection[str], where: str) -> Iterator[FieldError]:
    for name in fields:
        if name not in known:
            shown = name if isinstance(name, str) and _NAMEABLE.fullmatch(name) else ""
            yield FieldError(".".join(filter(None, (where, shown))), "unknown_field", "unknown field")


def _typed(fields: dict[Any, Any], name: str, path: str, *kinds: type, required: bool = False) -> Iterator[FieldError]:
    value = fields.get(name)
    if value is None:
        if required:
            yield FieldError(path, "missing", "this field is required")
    elif type(value) not in kinds:
        yield FieldError(path, "wrong_type", "wrong type")


def _content_faults(body: dict[Any, Any]) -> Iterator[FieldError]:
    kdf = body["kdf"]
    texts = {**{f"kdf.{name}": value for name, value in kdf.items()}, **body}
    for path, text in texts.items():
        if isinstance(text, str) and holds_private_key(_bytes(text)):
            yield FieldError(path, "private_key", "this is a private key")
    binary: dict[str, bytes | None] = {}
    for path in ("nonce", "ciphertext", "mac", "kdf.salt"):
        text = texts.get(path)
        binary[path] = None if text is None else from_base64(_bytes(text))
        if text is not None and binary[path] is None:
            yield FieldError(path, "not_base64", "not valid base64")
    yield from _cipher_faults(body["algorithm"], binary)
    yield from _kdf_faults(kdf, binary["kdf.salt"])
    key_id = body.get("key_id")
    if key_id is not None and not (1 <= len(key_id) <= _MAX_KEY_ID and key_id.isprintable()):
        yield FieldError("key_id", "bad_value", f"1 to {_MAX_KEY_ID} printable characters are required")


def _cipher_faults(algorithm: str, binary: dict[str, bytes | None]) -> Iterator[FieldError]:
    plain_name = _plain_name(algorithm)
    if not _TOKEN.fullmatch(algorithm) or spells_bare_key(_bytes(algorithm)):
        yield FieldError("algorithm", "bad_value", "not the name of an algorithm")
    if plain_name in _NO_CIPHERS:
        yield FieldError("algorithm", "not_a_cipher", "this algorithm does not encrypt")
    cipher = _CIPHERS.get(plain_name)
    nonce, ciphertext, mac = binary["nonce"], binary["ciphertext"], binary["mac"]
    if nonce is not None and len(nonce) not in ((cipher.nonce,) if cipher else _NONCE_BYTES):
        yield FieldError("nonce", "bad_length", "wrong nonce length for this algorithm")
    yield from _mac_faults(cipher, mac)
    if ciphertext is None:
        return
    shortest = _TAG_BYTES + 1 if cipher and mac is None else 1
    if len(ciphertext) < shortest:
        yield FieldError("ciphertext", "bad_length", "the ciphertext is shorter than its authentication tag")
    elif mac is None and is_bare_key(ciphertext):
        yield FieldError("ciphertext", "bare_key", "32 or 64 bytes without a mac look like a key, not a ciphertext")


def _mac_faults(cipher: _Cipher | None, mac: bytes | None) -> Iterator[FieldError]:
    if cipher and cipher.mac and mac is None:
        yield FieldError("mac", "missing", "this algorithm requires a mac")
    lengths: Collection[int] = _NONCE_BYTES
    if cipher:
        lengths = (cipher.mac,) if cipher.mac else range(_TAG_BYTES, _NONCE_BYTES.stop)
    if mac is not None and len(mac) not in lengths:
        yield FieldError("mac", "bad_length", "wrong mac length for this algorithm")


def _kdf_faults(kdf: dict[str, Any], salt: bytes | None) -> Iterator[FieldError]:
    name = kdf["name"]
    if not _TOKEN.fullmatch(name) or spells_bare_key(_bytes(name)):
        yield FieldError("kdf.name", "bad_value", "not the name of a key derivation function")
    if kdf.get("salt") is None and _plain_name(name) not in _SALTLESS:
        yield FieldError("kdf.salt", "missing", "this key derivation function requires a salt")
    if salt is not None and len(salt) not in _SALT_BYTES:
        yield FieldError("kdf.salt", "bad_length", "a salt must have 16 to 1024 bytes")
    for parameter in Kdf.__struct_fields__[2:]:
        value = kdf.get(parameter)
        if isinstance(value, str):
            good = len(value) <= _MAX_PARAMETER and value.isprintable() and not spells_bare_key(_bytes(value))
        else:
            good = value is None or 0 <= value <= _MAX_COST
        if not good:
            yield FieldError(f"kdf.{parameter}", "bad_value", "not a number or a string of at most 64 characters")


def _plain_name(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
