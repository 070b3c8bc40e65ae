"""Validation of envelopes: valid ones are kept byte for byte, and private keys are refused in any encoding."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messenger.errors import MalformedBody, MessengerError, NotEncrypted, SecretTooLarge
from messenger.security.envelope import MAX_BYTES, Kdf, SecretEnvelope, ensure_envelope, parse_envelope

ENCODERS: dict[bool, Callable[[Any], bytes]] = {False: msgspec.json.encode, True: msgspec.msgpack.encode}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def some(size: int) -> str:
    """Base64 of this many bytes without structure."""
    return b64(bytes((at * 167 + 201) % 256 for at in range(size)))


def body(**changes: Any) -> dict[str, Any]:
    """A valid envelope of AES-256-GCM under Argon2id, with these fields replaced; `...` omits one."""
    fields: dict[str, Any] = {
        "algorithm": "aes-256-gcm",
        "kdf": {"name": "argon2id", "salt": some(16), "memory_kib": 65536, "iterations": 3, "parallelism": 4},
        "nonce": some(12),
        "ciphertext": some(48),
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


def kdf(**changes: Any) -> dict[str, Any]:
    fields = {"name": "argon2id", "salt": some(16), **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def faults(fields: Any) -> list[tuple[str, str]]:
    """The faults of this body, equal in JSON and in MessagePack."""
    refused = [refusal(encode(fields), msgpack=msgpack) for msgpack, encode in ENCODERS.items()]
    found = [[(error.field, error.code) for error in one.errors] for one in refused]
    assert found[0] == found[1]
    return found[0]


def refusal(raw: bytes, *, msgpack: bool = False) -> NotEncrypted:
    with pytest.raises(NotEncrypted) as caught:
        parse_envelope(raw, msgpack=msgpack)
    error = caught.value
    assert (error.status, error.code) == (422, "not_encrypted")
    assert error.errors
    return error


# Keys by their form alone; `test_key_shapes.py` has the full collection.
PEM = f"-----BEGIN PRIVATE KEY-----\n{'MC4CAQAwBQYDK2VwBCIEIFpa' * 2}\n-----END PRIVATE KEY-----\n"
PKCS8 = bytes.fromhex("302e020100300506032b657004220420") + b"\x5a" * 32
JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuw"}
KEYS = {
    "pem": PEM.encode(),
    "der": PKCS8,
    "jwk": json.dumps(JWK).encode(),
    "openssh": b"openssh-key-v1\0\0\0\0\x04none",
}
EACH_KEY = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


class TestValidEnvelopes:
    @pytest.mark.parametrize("msgpack", [False, True])
    def test_valid_values_are_returned_unchanged(self, msgpack: bool) -> None:
        sent = body(nonce=some(12).rstrip("="), ciphertext=some(50), mac=some(32), key_id="7f3a β")
        envelope = parse_envelope(ENCODERS[msgpack](sent), msgpack=msgpack)
        assert msgspec.to_builtins(envelope) == sent

    def test_omitted_kdf_fields_stay_omitted(self) -> None:
        envelope = parse_envelope(msgspec.json.encode(body(kdf={"name": "none"})))
        assert msgspec.json.decode(msgspec.json.encode(envelope))["kdf"] == {"name": "none"}

    def test_null_counts_as_omitted_field(self) -> None:
        sent = body(mac=None, key_id=None, kdf=kdf(info=None))
        assert parse_envelope(msgspec.json.encode(sent)) == parse_envelope(msgspec.json.encode(body(kdf=kdf())))

    @pytest.mark.parametrize("form", ["AAEC/+8=", "AAEC_-8=", "AAEC/+8", "AAEC_-8"])
    def test_each_base64_alphabet_is_accepted(self, form: str) -> None:
        envelope = parse_envelope(msgspec.json.encode(body(algorithm="mine", ciphertext=form)))
        assert envelope.ciphertext == form

    @pytest.mark.parametrize(
        ("algorithm", "nonce", "ciphertext", "mac"),
        [
            ("AES-256-GCM", 12, 17, None),
            ("aes_gcm", 12, 48, None),
            ("A256GCM", 12, 1, 16),
            ("ChaCha20-Poly1305", 12, 48, None),
            ("xchacha20-poly1305", 24, 48, None),
            ("XChaCha20Poly1305_ietf", 24, 32, 16),
            ("secretbox", 24, 48, None),
            ("xsalsa20-poly1305", 24, 64, 16),
            ("m.secret_storage.v1.aes-hmac-sha2", 16, 32, 32),
            ("Threefish-1024", 8, 1, None),
            ("Threefish-1024", 64, 1, 64),
        ],
    )
    def test_known_algorithm_is_accepted(self, algorithm: str, nonce: int, ciphertext: int, mac: int | None) -> None:
        fields = body(algorithm=algorithm, nonce=some(nonce), ciphertext=some(ciphertext), mac=mac and some(mac))
        assert parse_envelope(msgspec.json.encode(fields)).algorithm == algorithm

    @pytest.mark.parametrize("name", ["none", "hkdf", "HKDF", "hkdf-sha256", "HKDF-SHA-512"])
    def test_random_secret_needs_no_salt(self, name: str) -> None:
        assert parse_envelope(msgspec.json.encode(body(kdf={"name": name}))).kdf.salt is None

    @pytest.mark.parametrize("parameter", Kdf.__struct_fields__[2:])
    def test_each_listed_cost_is_accepted(self, parameter: str) -> None:
        for value in (0, 2**32 - 1, "", "SHA-512", "x" * 64):
            envelope = parse_envelope(msgspec.json.encode(body(kdf=kdf(**{parameter: value}))))
            assert getattr(envelope.kdf, parameter) == value

    @pytest.mark.parametrize("size", [16, 1024])
    def test_salt_of_allowed_length_is_accepted(self, size: int) -> None:
        parse_envelope(msgspec.json.encode(body(kdf=kdf(salt=some(size)))))

    def test_random_ciphertexts_are_accepted(self) -> None:
        for _ in range(100):
            parse_envelope(msgspec.json.encode(body(ciphertext=b64(os.urandom(40_000)))))

    def test_ensure_envelope_accepts_valid_envelope(self) -> None:
        ensure_envelope(msgspec.convert(body(mac=some(32), key_id="k1"), SecretEnvelope))


class TestEnvelopeFields:
    @pytest.mark.parametrize("field", ["algorithm", "kdf", "nonce", "ciphertext"])
    def test_missing_field_is_reported(self, field: str) -> None:
        assert faults(body(**{field: ...})) == [(field, "missing")]
        assert faults(body(**{field: None})) == [(field, "missing")]

    def test_missing_kdf_name_is_reported(self) -> None:
        assert faults(body(kdf=kdf(name=...))) == [("kdf.name", "missing")]

    @pytest.mark.parametrize("field", ["algorithm", "kdf", "nonce", "ciphertext", "mac", "key_id"])
    @pytest.mark.parametrize("value", [7, 1.5, True, [], [1, 2]])
    def test_field_of_wrong_type_is_reported(self, field: str, value: object) -> None:
        assert faults(body(**{field: value})) == [(field, "wrong_type")]

    @pytest.mark.parametrize("field", ["name", "salt", "iterations", "hash"])
    @pytest.mark.parametrize("value", [1.5, True, [], {}])
    def test_kdf_field_of_wrong_type_is_reported(self, field: str, value: object) -> None:
        assert faults(body(kdf=kdf(**{field: value}))) == [(f"kdf.{field}", "wrong_type")]

    def test_messagepack_binary_is_wrong_type(self) -> None:
        error = refusal(msgspec.msgpack.encode(body(ciphertext=b"\xff" * 48)), msgpack=True)
        assert [(fault.field, fault.code) for fault in error.errors] == [("ciphertext", "wrong_type")]

    def test_unknown_field_is_reported(self) -> None:
        assert faults(body(private_key="x")) == [("private_key", "unknown_field")]
        assert faults(body(kdf=kdf(passphrase="x"))) == [("kdf.passphrase", "unknown_field")]

    def test_unknown_field_is_not_named_when_name_may_reveal_secret(self) -> None:
        assert faults(body(hunter2=1)) == [("", "unknown_field")]
        assert faults(body(kdf=kdf(hunter2=1))) == [("kdf", "unknown_field")]

    @pytest.mark.parametrize("key", [7, None, b"kdf", True])
    def test_non_string_key_is_reported(self, key: object) -> None:
        raw = msgspec.msgpack.encode({**body(), key: 1})
        assert [fault.code for fault in refusal(raw, msgpack=True).errors] == ["unknown_field"]

    def test_all_faults_are_reported_together(self) -> None:
        assert faults({"algorithm": 7, "kdf": {}, "seed": 1}) == [
            ("seed", "unknown_field"),
            ("algorithm", "wrong_type"),
            ("nonce", "missing"),
            ("ciphertext", "missing"),
            ("kdf.name", "missing"),
        ]


class TestEnvelopeContent:
    @pytest.mark.parametrize("field", ["nonce", "ciphertext", "mac"])
    @pytest.mark.parametrize("value", ["not base64!", "AAAA\n", "AAAAA", "AAAA=", "A===", "+_AA", "=AAA", "ÄÄÄÄ", " "])
    def test_invalid_base64_is_reported(self, field: str, value: str) -> None:
        assert faults(body(**{field: value})) == [(field, "not_base64")]

    def test_invalid_base64_salt_is_reported(self) -> None:
        assert faults(body(kdf=kdf(salt="pepper!"))) == [("kdf.salt", "not_base64")]

    @pytest.mark.parametrize("algorithm", ["", "a b", "aes,gcm", "é", "x" * 65, "aes\n", "0123456789abcdef" * 4])
    def test_invalid_algorithm_name_is_reported(self, algorithm: str) -> None:
        assert faults(body(algorithm=algorithm)) == [("algorithm", "bad_value")]

    @pytest.mark.parametrize(
        "algorithm", ["none", "NONE", "plain", "Plain-Text", "plaintext", "identity", "base64", "base-64", "raw", "hex"]
    )
    def test_algorithm_without_encryption_is_reported(self, algorithm: str) -> None:
        assert faults(body(algorithm=algorithm)) == [("algorithm", "not_a_cipher")]

    @pytest.mark.parametrize(
        ("algorithm", "nonce"),
        [
            ("aes-256-gcm", 11),
            ("aes-256-gcm", 16),
            ("AES_GCM", 24),
            ("chacha20-poly1305", 24),
            ("xchacha20-poly1305", 12),
            ("secretbox", 12),
            ("xsalsa20poly1305", 16),
            ("mine", 0),
            ("mine", 7),
            ("mine", 65),
        ],
    )
    def test_nonce_of_wrong_length_is_reported(self, algorithm: str, nonce: int) -> None:
        assert faults(body(algorithm=algorithm, nonce=some(nonce))) == [("nonce", "bad_length")]

    @pytest.mark.parametrize("size", [0, 15, 16])
    def test_ciphertext_no_longer_than_tag_is_reported(self, size: int) -> None:
        assert faults(body(ciphertext=some(size))) == [("ciphertext", "bad_length")]

    def test_empty_ciphertext_with_mac_is_reported(self) -> None:
        assert faults(body(ciphertext="", mac=some(16))) == [("ciphertext", "bad_length")]

    @pytest.mark.parametrize(("algorithm", "size"), [("aes-256-gcm", 15), ("aes-256-gcm", 65), ("x", 7), ("x", 65)])
    def test_mac_of_wrong_length_is_reported(self, algorithm: str, size: int) -> None:
        assert faults(body(algorithm=algorithm, mac=some(size))) == [("mac", "bad_length")]

    def test_matrix_secret_storage_requires_mac(self) -> None:
        fields = body(algorithm="m.secret_storage.v1.aes-hmac-sha2", nonce=some(16))
        assert faults(fields) == [("mac", "missing")]
        assert faults({**fields, "mac": some(31)}) == [("mac", "bad_length")]

    @pytest.mark.parametrize("salt", [..., None])
    def test_passphrase_requires_salt(self, salt: object) -> None:
        assert faults(body(kdf=kdf(salt=salt))) == [("kdf.salt", "missing")]

    @pytest.mark.parametrize("size", [0, 15, 1025])
    @pytest.mark.parametrize("name", ["argon2id", "none"])
    def test_salt_of_wrong_length_is_reported(self, name: str, size: int) -> None:
        assert faults(body(kdf=kdf(name=name, salt=some(size)))) == [("kdf.salt", "bad_length")]

    @pytest.mark.parametrize("value", [-1, 2**32, 2**63, "x" * 65, "a\nb", "0123456789abcdef" * 4])
    def test_cost_out_of_bounds_is_reported(self, value: object) -> None:
        assert faults(body(kdf=kdf(iterations=value))) == [("kdf.iterations", "bad_value")]

    @pytest.mark.parametrize("name", ["", "argon 2", "x" * 65])
    def test_invalid_kdf_name_is_reported(self, name: str) -> None:
        assert faults(body(kdf=kdf(name=name))) == [("kdf.name", "bad_value")]

    @pytest.mark.parametrize("key_id", ["", "x" * 256, "a\nb", "\0"])
    def test_invalid_key_id_is_reported(self, key_id: str) -> None:
        assert faults(body(key_id=key_id)) == [("key_id", "bad_value")]

    @pytest.mark.parametrize("size", [32, 64])
    def test_bare_key_as_ciphertext_is_reported(self, size: int) -> None:
        secret = bytes(range(100, 100 + size))
        for data in (secret, secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret)):
            assert faults(body(algorithm="mine", ciphertext=b64(data))) == [("ciphertext", "bare_key")]
        assert faults(body(ciphertext=b64(secret))) == [("ciphertext", "bare_key")]

    def test_ensure_envelope_refuses_bare_key(self) -> None:
        with pytest.raises(NotEncrypted):
            ensure_envelope(msgspec.convert(body(ciphertext=some(32)), SecretEnvelope))


class TestPrivateKeysInEnvelope:
    @EACH_KEY
    @pytest.mark.parametrize("msgpack", [False, True])
    def test_private_key_as_body_is_refused(self, key: bytes, msgpack: bool) -> None:
        for raw in (key, b"\n" + key + b"\n", base64.b64encode(key), base64.encodebytes(key), key.hex().encode()):
            refusal(raw, msgpack=msgpack)

    @pytest.mark.parametrize("field", ["algorithm", "nonce", "ciphertext", "mac", "key_id"])
    def test_private_key_as_field_text_is_reported(self, field: str) -> None:
        for text in (PEM, PEM.replace("\n", " "), json.dumps(JWK)):
            assert (field, "private_key") in faults(body(**{field: text}))

    @EACH_KEY
    @pytest.mark.parametrize("field", ["nonce", "ciphertext", "mac", "key_id"])
    def test_private_key_in_base64_is_reported(self, key: bytes, field: str) -> None:
        for text in (b64(key), base64.urlsafe_b64encode(key).decode("ascii").rstrip("="), b64(b64(key).encode())):
            assert (field, "private_key") in faults(body(**{field: text}))

    @EACH_KEY
    def test_private_key_in_kdf_is_reported(self, key: bytes) -> None:
        assert ("kdf.salt", "private_key") in faults(body(kdf=kdf(salt=b64(key))))
        assert ("kdf.info", "private_key") in faults(body(kdf=kdf(info=b64(key))))

    def test_jwk_as_request_body_is_refused(self) -> None:
        assert ("d", "unknown_field") in faults(JWK)
        faults({"keys": [JWK]})

    @EACH_KEY
    def test_private_key_in_ciphertext_with_mac_is_reported(self, key: bytes) -> None:
        assert faults(body(ciphertext=b64(key), mac=some(32))) == [("ciphertext", "private_key")]


class TestEnvelopeBody:
    @pytest.mark.parametrize("size", [32, 64])
    @pytest.mark.parametrize("msgpack", [False, True])
    def test_bare_key_as_body_is_refused(self, size: int, msgpack: bool) -> None:
        secret = bytes(range(160, 160 + size))
        texts = [secret.hex().encode(), base64.b64encode(secret), base64.urlsafe_b64encode(secret).rstrip(b"=")]
        for raw in (secret, *texts, *(text + b"\n" for text in texts)):
            refusal(raw, msgpack=msgpack)

    @pytest.mark.parametrize("value", ["", "hunter2", [], [1] * 32, 7, 1.5, None, True])
    def test_body_other_than_object_is_refused(self, value: object) -> None:
        assert faults(value) == [("", "wrong_type")]

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b" ",
            b"{",
            b"hunter2",
            json.dumps(body()).encode()[:-1],
            b"\xef\xbb\xbf{}",
            b"[" * 60_000,
            b'{"a":"\xff"}',
        ],
    )
    def test_malformed_json_is_refused(self, raw: bytes) -> None:
        with pytest.raises(MalformedBody) as caught:
            parse_envelope(raw)
        assert (caught.value.status, caught.value.code) == (400, "malformed_body")

    @pytest.mark.parametrize(
        "raw", [b"", b"\xc1", b"\x91" * 60_000, b"\x81\xa1a", b"\xdd\xff\xff\xff\xff", b"\x80\x80"]
    )
    def test_malformed_messagepack_body_is_refused(self, raw: bytes) -> None:
        with pytest.raises(MalformedBody):
            parse_envelope(raw, msgpack=True)

    def test_json_as_messagepack_is_refused(self) -> None:
        with pytest.raises((MalformedBody, NotEncrypted)):
            parse_envelope(json.dumps(body()).encode(), msgpack=True)

    @pytest.mark.parametrize("msgpack", [False, True])
    def test_envelope_above_64_kib_is_refused(self, msgpack: bool) -> None:
        with pytest.raises(SecretTooLarge):
            parse_envelope(b"{" * (MAX_BYTES + 1), msgpack=msgpack)

    def test_envelope_of_64_kib_is_accepted(self) -> None:
        raw = msgspec.json.encode(body(ciphertext=some(48_000)))
        assert parse_envelope(raw.ljust(MAX_BYTES)).ciphertext == some(48_000)
        with pytest.raises(SecretTooLarge):
            parse_envelope(raw.ljust(MAX_BYTES + 1))

    @given(st.binary(max_size=300), st.booleans())
    def test_arbitrary_bytes_are_refused(self, raw: bytes, msgpack: bool) -> None:
        with pytest.raises((MalformedBody, NotEncrypted)):
            parse_envelope(raw, msgpack=msgpack)

    @given(
        st.sampled_from([*SecretEnvelope.__struct_fields__, "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(Kdf.__struct_fields__) | st.text(), inner),
            max_leaves=8,
        ),
    )
    def test_arbitrary_value_is_kept_or_refused(self, field: str, value: object) -> None:
        sent = {**body(), field: value}
        for msgpack, encode in ENCODERS.items():
            try:
                envelope = parse_envelope(encode(sent), msgpack=msgpack)
            except MessengerError:
                continue
            assert msgspec.to_builtins(envelope) == expected(sent)


def expected(sent: dict[str, Any]) -> dict[str, Any]:
    """What a view shows: `mac` and `key_id` always, of the KDF whatever is not null."""
    shown = {"mac": None, "key_id": None, **copy.deepcopy(sent)}
    shown["kdf"] = {name: value for name, value in shown["kdf"].items() if value is not None}
    return shown


class TestEnvelopeSecrecy:
    CANARY = "canary7zqx"

    @pytest.mark.parametrize(
        "raw",
        [
            CANARY.encode(),
            msgspec.json.encode(CANARY),
            msgspec.json.encode({CANARY: CANARY}),
            msgspec.json.encode(body(**{CANARY: 1})),
            msgspec.json.encode(body(kdf=kdf(**{CANARY: CANARY}))),
            msgspec.json.encode(body(algorithm=f"{CANARY} !", nonce=f"{CANARY} !", ciphertext=f"{CANARY} !")),
            msgspec.json.encode(
                body(mac=f"{CANARY} !", key_id=f"{CANARY}\n", kdf=kdf(name=f"{CANARY} !", salt=CANARY))
            ),
            msgspec.json.encode(body(kdf=kdf(info=CANARY * 10, iterations=-1))),
            b'{"' + CANARY.encode() + b'": canary7zqx}',
            (PEM + CANARY).encode(),
        ],
    )
    def test_errors_do_not_repeat_input(self, raw: bytes) -> None:
        with pytest.raises(MessengerError) as caught:
            parse_envelope(raw)
        error = caught.value
        texts = [str(error), repr(error), error.detail, repr(error.errors), repr(error.extra), repr(error.__context__)]
        assert error.__context__ is None
        assert self.CANARY not in "".join([*texts, *traceback.format_exception_only(error)])

    def test_repr_hides_envelope(self) -> None:
        fields = body(
            algorithm=self.CANARY, ciphertext=b64(self.CANARY.encode()), key_id=self.CANARY, kdf=kdf(info=self.CANARY)
        )
        envelope = parse_envelope(msgspec.json.encode(fields))
        shown = f"{envelope} {envelope!r} {envelope.kdf} {envelope.kdf!r} {[envelope]}"
        assert self.CANARY not in shown
        assert fields["ciphertext"] not in shown

    def test_pretty_printer_hides_envelope(self) -> None:
        rich = pytest.importorskip("rich.console")
        console = rich.Console(file=io.StringIO())
        console.print(parse_envelope(msgspec.json.encode(body(key_id=self.CANARY))))
        assert self.CANARY not in console.file.getvalue()
