"""The long poll, where no WebSocket is available."""

from __future__ import annotations

import httpx
import pytest

from messenger.client import ApiError, CaughtUp, Client, Resync, SignedOut, Timing
from messenger.client.errors import ClientError, Unreachable
from messenger.client.polling import EARLY_WAIT_SECONDS
from messenger.client.reconnect import after_failure
from messenger.client.socket_link import UpgradeRefused
from tests.client.fake import QUICK, Fake, Feed, refused, take
from tests.client.wire import problem

PAGE = "<html>Upgrades are not allowed here</html>"
EAGER = Timing(connect=2.0, answer=2.0, reply=2.0, first_wait=0.5, stable=60.0, socket_again=0.0)


class TestFallback:
    @pytest.mark.parametrize("status", [200, 400, 403, 404, 405, 501, 502])
    async def test_upgrade_refused_by_proxy_falls_back_to_polling(
        self, fake: Fake, client: Client, status: int
    ) -> None:
        feed = Feed()
        fake.on("GET", "/sync", feed)
        fake.refusals = [(status, PAGE, {})]
        statuses: list[str] = []
        stream = client.stream("e0", on_status=statuses.append)
        feed.add(1)
        stream.start()
        assert await take(stream, 2) == ["e1", "e1"]
        feed.add(2)
        assert await take(stream, 1) == ["e2"]
        assert statuses == ["polling"]
        assert fake.handshakes == 1

    async def test_upgrade_stripped_by_proxy_falls_back_to_polling(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/sync", Feed())
        fake.refusals = [(426, problem(426, "upgrade_required"), {})]
        stream = client.stream("e0")
        assert await anext(stream) == CaughtUp("e0")

    def test_repeated_cuts_fall_back_to_polling(self) -> None:
        cut = Unreachable("cut")
        assert [after_failure(cut, failures=n).action for n in range(4)] == ["again", "again", "poll", "poll"]

    def test_missing_subprotocol_falls_back_to_polling(self) -> None:
        assert after_failure(UpgradeRefused("no"), failures=0).action == "poll"

    async def test_polling_retries_socket_at_cursor(self, fake: Fake) -> None:
        feed = Feed()
        feed.add(1)
        fake.on("GET", "/sync", feed)
        fake.refusals = [(502, PAGE, {})]
        async with fake.client(timing=EAGER) as client:
            stream = client.stream("e0")
            stream.start()
            # `socket_again=0`: no page is requested at all.
            peer = await fake.socket()
            assert peer.query == {"cursor": "e0"}
            await peer.welcome()
            assert await take(stream, 1) == ["e0"]


class TestPollLoop:
    async def test_poll_loop_does_not_wait_before_catching_up(self, fake: Fake, client: Client) -> None:
        feed = Feed()
        for number in range(1, 6):
            feed.add(number)
        fake.on("GET", "/sync", feed)
        stream = client.stream("e0", polling_only=True)
        stream.start()
        assert await take(stream, 6) == ["e1", "e2", "e3", "e4", "e5", "e5"]
        assert [call.url.params["wait"] for call in fake.calls[:3]] == ["0.0"] * 3

    async def test_poll_without_cursor_starts_now(self, fake: Fake, client: Client) -> None:
        feed = Feed()
        feed.add(1)
        fake.on("GET", "/sync", feed)
        stream = client.stream(polling_only=True)
        assert await anext(stream) == CaughtUp("e1")
        assert stream.cursor == "e1"
        feed.add(2)
        assert await take(stream, 1) == ["e2"]

    async def test_expired_cursor_causes_resync(self, fake: Fake, client: Client) -> None:
        feed = Feed()
        feed.add(1)
        feed.expired = True
        fake.on("GET", "/sync", feed)
        stream = client.stream("e0", polling_only=True)
        assert await anext(stream) == Resync("e1")
        assert await anext(stream) == CaughtUp("e1")
        feed.add(2)
        assert await take(stream, 1) == ["e2"]

    async def test_early_empty_answer_is_followed_by_pause(self, fake: Fake, client: Client) -> None:
        empty = httpx.Response(200, json={"events": [], "cursor": "e0", "more": False})
        feed = Feed()
        feed.add(1)
        fake.on("GET", "/sync", empty, empty, empty, empty, feed)
        assert await take(client.stream("e0", polling_only=True), 2) == ["e0", "e1"]
        assert len(fake.sleeps) == 3
        assert min(fake.sleeps) >= EARLY_WAIT_SECONDS

    async def test_poll_loop_survives_outages(self, fake: Fake, client: Client) -> None:
        feed = Feed()
        feed.add(1)
        down: list[Exception | httpx.Response] = [httpx.ConnectError("down"), refused(503, "unavailable")]
        fake.on("GET", "/sync", *down, feed)
        stream = client.stream("e0", polling_only=True)
        assert await take(stream, 2) == ["e1", "e1"]
        assert len(fake.sleeps) == 2

    async def test_expired_token_is_renewed_while_polling(self, fake: Fake, client: Client) -> None:
        fake.on("GET", "/sync", Feed())
        fake.access = "another"
        assert await anext(client.stream("e0", polling_only=True)) == CaughtUp("e0")
        assert fake.refreshes == 1

    async def test_sign_out_ends_polling(self, fake: Fake, client: Client) -> None:
        fake.access, fake.refresh = "another", "gone"
        with pytest.raises(SignedOut):
            await anext(client.stream("e0", polling_only=True))


def test_html_page_instead_of_answer_is_retried() -> None:
    assert after_failure(ApiError(302, "http_302", "sign in to this network"), failures=0).action == "again"
    assert after_failure(ApiError(403, "forbidden", "no"), failures=0).action == "stop"


def test_permanent_refusal_does_not_fall_back_to_polling() -> None:
    error: ClientError = SignedOut(401, "unauthenticated", "no")
    assert after_failure(error, failures=9).action == "renew"
    assert QUICK.socket_again > 0
