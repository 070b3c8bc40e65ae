"""TURN credentials and the addresses of ICE servers, compared with test vectors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import msgspec
import pytest

from messenger.security.turn import IceServer, check_ice_url, ice_servers, pseudonym, turn_credentials

NOW = datetime(2026, 11, 22, 10, 15, 30, 123000, tzinfo=UTC)
KEY = bytes(range(32))
SECRET = "north"


class TestTurnCredentials:
    def test_username_is_expiry_second_and_pseudonym(self) -> None:
        username, _ = turn_credentials(SECRET, "p_7f3a", datetime.fromtimestamp(1795349225, UTC))
        assert username == "1795349225:p_7f3a"

    def test_credential_is_padded_base64_of_hmac_sha1(self) -> None:
        # printf %s 1795349225:p_7f3a | openssl dgst -sha1 -hmac north -binary | base64
        _, credential = turn_credentials(SECRET, "p_7f3a", datetime.fromtimestamp(1795349225, UTC))
        assert credential == "f4Ch819fl2kNprW5jXEKItONZPg="

    def test_time_zone_of_expiry_is_ignored(self) -> None:
        elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
        assert turn_credentials(SECRET, "p", elsewhere) == turn_credentials(SECRET, "p", NOW)

    def test_naive_time_is_refused(self) -> None:
        with pytest.raises(ValueError, match="zone"):
            turn_credentials(SECRET, "p", NOW.replace(tzinfo=None))


class TestTurnPseudonym:
    def test_pseudonym_changes_daily(self) -> None:
        today = pseudonym(KEY, 26040983, date(2026, 11, 22))
        assert today == pseudonym(KEY, 26040983, date(2026, 11, 22))
        assert today != pseudonym(KEY, 26040983, date(2026, 11, 23))

    def test_pseudonym_differs_by_user_and_key(self) -> None:
        day = date(2026, 11, 22)
        names = {pseudonym(key, user, day) for key in (KEY, KEY[::-1]) for user in (26040983, 26040984)}
        assert len(names) == 4

    @pytest.mark.parametrize("user_id", [10000000, 26040983, 2**62])
    def test_pseudonym_is_sixteen_url_safe_characters_without_user_id(self, user_id: int) -> None:
        name = pseudonym(KEY, user_id, date(2026, 11, 22))
        assert len(name) == 16
        assert name.replace("-", "").replace("_", "").isalnum()
        assert str(user_id) not in name

    def test_guessable_pseudonym_key_is_refused(self) -> None:
        with pytest.raises(ValueError, match="16 bytes"):
            pseudonym(b"short", 26040983, date(2026, 11, 22))


def servers(
    *, stun: tuple[str, ...] = (), turn: tuple[str, ...] = (), secret: str | None = SECRET, now: datetime = NOW
) -> tuple[list[IceServer], datetime]:
    return ice_servers(
        stun_urls=stun,
        turn_urls=turn,
        turn_secret=secret,
        key=KEY,
        user_id=26040983,
        now=now,
        ttl=timedelta(hours=1),
    )


class TestIceServers:
    def test_only_turn_server_has_credentials(self) -> None:
        (stun, turn), expires_at = servers(stun=("stun:h:3478",), turn=("turn:h:3478", "turns:h:5349"))
        assert stun == IceServer(("stun:h:3478",), None, None)
        assert turn.urls == ("turn:h:3478", "turns:h:5349")
        name = pseudonym(KEY, 26040983, NOW.date())
        assert (turn.username, turn.credential) == turn_credentials(SECRET, name, expires_at)

    def test_expiry_equals_second_in_username(self) -> None:
        (turn,), expires_at = servers(turn=("turn:h",))
        assert expires_at == datetime(2026, 11, 22, 11, 15, 30, tzinfo=UTC)
        assert turn.username is not None
        assert turn.username.partition(":")[0] == str(int(expires_at.timestamp()))

    def test_pseudonym_day_is_utc(self) -> None:
        (here,), _ = servers(turn=("turn:h",))
        (there,), _ = servers(turn=("turn:h",), now=NOW.astimezone(timezone(timedelta(hours=14))))
        assert here == there

    def test_unconfigured_servers_give_empty_list(self) -> None:
        assert servers(secret=None)[0] == []

    def test_turn_without_secret_is_refused(self) -> None:
        with pytest.raises(ValueError, match="secret"):
            servers(turn=("turn:h",), secret=None)

    def test_naive_time_is_refused(self) -> None:
        with pytest.raises(ValueError, match="zone"):
            servers(now=NOW.replace(tzinfo=None))

    def test_ice_server_has_urls_username_and_credential(self) -> None:
        (stun,), _ = servers(stun=("stun:h",))
        assert msgspec.json.encode(stun) == b'{"urls":["stun:h"],"username":null,"credential":null}'

    def test_repr_hides_the_credential(self) -> None:
        (turn,), _ = servers(turn=("turn:h",))
        assert turn.credential is not None
        assert turn.credential not in repr(turn)


SCHEMES = ("stun", "stuns", "turn", "turns")


class TestCheckIceUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "stun:example.org",
            "stun:example.org.:3478",
            "STUN:example.org",
            "stuns:example.org:5349",
            "stun:192.0.2.7:1",
            "stun:[2001:db8::7]",
            "turn:[2001:db8::7]:65535?transport=tcp",
            "turn:coturn_1:3478?transport=udp",
            "turns:xn--bcher-kva.example?transport=tcp",
            "turn:localhost",
        ],
    )
    def test_valid_ice_url_is_accepted(self, url: str) -> None:
        check_ice_url(url, SCHEMES)

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("", "must start with"),
            ("example.org", "must start with"),
            ("http:example.org", "must start with"),
            ("turn://example.org", "not be followed by //"),
            ("turn:", "host"),
            ("turn::3478", "host"),
            ("turn:exa mple.org", "host"),
            ("turn:example.org\n", "host"),
            ("turn:-a.example", "host"),
            ("turn:a..example", "host"),
            ("turn:bücher.example", "host"),
            ("turn:" + "a" * 64, "host"),
            ("turn:" + "a." * 127 + "aa", "host"),
            ("turn:999.1.1.1", "host"),
            ("turn:127.1", "host"),
            ("turn:2001:db8::7", "host"),
            ("turn:fe80:db8::7", "port"),
            ("turn:[2001:db8::7", "host"),
            ("turn:[2001:db8::7]x", "host"),
            ("turn:[2001:db8::zz]", "host"),
            ("turn:[fe80::1%eth0]", "host"),
            ("turn:[192.0.2.7]", "host"),
            ("turn:h:", "port"),
            ("turn:h:0", "port"),
            ("turn:h:65536", "port"),
            ("turn:h:+80", "port"),
            ("turn:h:٣", "port"),
            ("turn:h/path", "host"),
            ("turn:h?", "transport"),
            ("turn:h?transport=sctp", "transport"),
            ("turn:h?transport=udp&x=1", "transport"),
            ("stun:h?transport=udp", "transport"),
        ],
    )
    def test_invalid_ice_url_is_refused_with_reason(self, url: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            check_ice_url(url, SCHEMES)

    def test_scheme_of_other_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="stun: or stuns:"):
            check_ice_url("turn:example.org", ("stun", "stuns"))

    def test_password_in_ice_url_is_refused_and_not_repeated(self) -> None:
        with pytest.raises(ValueError, match="not contain a user") as caught:
            check_ice_url("turn:user:hunter2@example.org", SCHEMES)
        assert "hunter2" not in str(caught.value)
