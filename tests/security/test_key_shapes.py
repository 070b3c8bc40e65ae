"""Private keys of all kinds are recognized in any encoding, and other data is not.

The keys are made by hand: their form is real, their numbers are not.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messenger.security.key_shapes import from_base64, holds_private_key, is_bare_key, spells_bare_key


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def integer(size: int) -> bytes:
    return der(0x02, b"\x5a" * size)


VERSION_0, VERSION_1 = der(0x02, b"\0"), der(0x02, b"\1")
ED25519 = der(0x30, bytes.fromhex("06032b6570"))
RSA = der(0x30, bytes.fromhex("06092a864886f70d010101"), b"\x05\0")
P256 = bytes.fromhex("06082a8648ce3d030107")
PKCS1 = der(0x30, VERSION_0, *(integer(size) for size in (257, 3, 256, 129, 129, 128, 128, 128)))
DER_KEYS = {
    "pkcs8-ed25519": der(0x30, VERSION_0, ED25519, der(0x04, der(0x04, b"\x5a" * 32))),
    "pkcs8-v2": der(0x30, VERSION_1, ED25519, der(0x04, der(0x04, b"\x5a" * 32)), der(0x81, b"\0" + b"\x5b" * 32)),
    "pkcs8-rsa": der(0x30, VERSION_0, RSA, der(0x04, PKCS1)),
    "pkcs1": PKCS1,
    "sec1": der(0x30, VERSION_1, der(0x04, b"\x5a" * 32), der(0xA0, P256)),
    "sec1-bare": der(0x30, VERSION_1, der(0x04, b"\x5a" * 32)),
    "dsa": der(0x30, VERSION_0, *(integer(size) for size in (129, 20, 128, 128, 20))),
}


def pem(label: str, content: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(content) + f"-----END {label}-----\n".encode()


JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuw"}
TEXT_KEYS = {
    "pem-pkcs8": pem("PRIVATE KEY", DER_KEYS["pkcs8-ed25519"]),
    "pem-encrypted": pem("ENCRYPTED PRIVATE KEY", b"\x5a" * 64),
    "pem-pkcs1": pem("RSA PRIVATE KEY", PKCS1),
    "pem-sec1": pem("EC PRIVATE KEY", DER_KEYS["sec1"]),
    "pem-openssh": pem("OPENSSH PRIVATE KEY", b"openssh-key-v1\0" + b"\x5a" * 64),
    "pem-one-line": pem("PRIVATE KEY", DER_KEYS["pkcs8-ed25519"]).replace(b"\n", b" "),
    "pgp": b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----",
    "ssh2": b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/56wAAA\n",
    "putty": b"PuTTY-User-Key-File-3: ssh-ed25519\n",
    "age": b"AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ",
    "jwk": json.dumps(JWK).encode(),
    "jwk-symmetric": b'{"k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ","kty" : "oct"}',
    "jwk-set": json.dumps({"keys": [JWK]}).encode(),
    "jwk-in-a-string": json.dumps(json.dumps(JWK)).encode(),
    "pem-utf-16": pem("PRIVATE KEY", b"\x5a" * 48).decode("ascii").encode("utf-16"),
}
KEYS = {**DER_KEYS, **TEXT_KEYS, "openssh": b"openssh-key-v1\0\0\0\0\x04none"}
EACH_KEY = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


def openssl(options: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *options.split()], input=given, capture_output=True, check=True).stdout


class TestHoldsPrivateKey:
    @EACH_KEY
    def test_plain_private_key_is_recognized(self, key: bytes) -> None:
        assert holds_private_key(key)
        assert holds_private_key(b"\n" + key + b"\n")

    @EACH_KEY
    def test_private_key_in_base64_and_hex_is_recognized(self, key: bytes) -> None:
        once, url_safe = base64.b64encode(key), base64.urlsafe_b64encode(key).rstrip(b"=")
        wrapped = [once, url_safe, base64.encodebytes(key), key.hex().encode(), key.hex(" ").upper().encode()]
        for text in wrapped:
            assert holds_private_key(text)
            assert holds_private_key(base64.b64encode(text))
            assert holds_private_key(text.hex().encode())

    @EACH_KEY
    def test_private_key_among_other_bytes_is_recognized(self, key: bytes) -> None:
        assert holds_private_key(b"\x30\x82\x30" + key)
        assert holds_private_key(b"\x9c" * 13 + key + b"\x9d" * 16)

    @pytest.mark.parametrize("key", DER_KEYS.values(), ids=DER_KEYS)
    def test_truncated_der_is_not_recognized(self, key: bytes) -> None:
        assert not holds_private_key(key[:12])

    def test_public_keys_are_not_recognized(self) -> None:
        public = {name: value for name, value in JWK.items() if name != "d"}
        spki = der(0x30, ED25519, der(0x03, b"\0" + b"\x5a" * 32))
        rsa = der(0x30, integer(257), integer(3))
        for data in (json.dumps(public).encode(), spki, rsa, pem("PUBLIC KEY", spki), pem("CERTIFICATE", rsa)):
            assert not holds_private_key(data)

    def test_random_bytes_are_not_recognized(self) -> None:
        assert not any(holds_private_key(os.urandom(48_000)) for _ in range(100))

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
    @pytest.mark.parametrize("form", ["PEM", "DER"])
    @pytest.mark.parametrize(
        ("options", "forms"),
        [
            ("genpkey -algorithm ed25519", [""]),
            ("genpkey -algorithm x25519", [""]),
            ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", ["", "-traditional"]),
            ("ecparam -name prime256v1 -genkey -noout", ["", "-traditional"]),
            ("ecparam -name secp521r1 -genkey -noout", ["", "-traditional"]),
        ],
    )
    def test_generated_keys_are_recognized(self, options: str, forms: list[str], form: str) -> None:
        key = openssl(options)
        assert holds_private_key(key)
        assert all(holds_private_key(openssl(f"pkey -outform {form} {one}", key)) for one in forms)
        assert not holds_private_key(openssl(f"pkey -outform {form} -pubout", key))

    @given(st.binary(max_size=300))
    def test_arbitrary_bytes_are_classified(self, data: bytes) -> None:
        assert holds_private_key(data) in (True, False)
        assert not is_bare_key(data) or len(data) >= 32

    @given(st.binary(max_size=40))
    def test_arbitrary_der_is_classified(self, data: bytes) -> None:
        assert holds_private_key(der(0x30, VERSION_0, data)) in (True, False)
        assert holds_private_key(b"\x30\x26" + VERSION_1 + data) in (True, False)


class TestBareKey:
    @pytest.mark.parametrize("size", [32, 64])
    def test_bare_key_is_recognized_in_each_encoding(self, size: int) -> None:
        key = bytes(range(160, 160 + size))
        assert is_bare_key(key)
        assert not spells_bare_key(key)
        for text in (key.hex().encode(), base64.b64encode(key), base64.urlsafe_b64encode(key).rstrip(b"=") + b"\n"):
            assert spells_bare_key(text)
            assert is_bare_key(text)

    @pytest.mark.parametrize("size", [0, 31, 33, 48, 63, 65])
    def test_bare_key_of_other_length_is_not_recognized(self, size: int) -> None:
        key = bytes(range(160, 160 + size))
        assert not is_bare_key(key)
        assert not spells_bare_key(base64.b64encode(key))


class TestFromBase64:
    @given(st.binary())
    def test_base64_of_all_four_forms_is_decoded(self, data: bytes) -> None:
        for text in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
            assert from_base64(text) == data
            assert from_base64(text.rstrip(b"=")) == data

    @pytest.mark.parametrize("text", [b"A", b"AAAAA", b"AAA==", b"AAAA=", b"A===", b"+_AA", b"AA AA", b"AA=A", b"\xc4"])
    def test_invalid_base64_is_not_decoded(self, text: bytes) -> None:
        assert from_base64(text) is None
