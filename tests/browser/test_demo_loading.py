"""Loading lists in pages while messages arrive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Route, expect

from tests.browser._tab import Account
from tests.browser.conftest import Sit

Make = Callable[..., Awaitable[Account]]


class TestConversationsInPages:
    async def test_conversation_moving_between_pages_keeps_settings(self, sit: Sit, account: Make) -> None:
        ada = await account("Ada")
        people = [await account(name, ada) for name in ("Bob", "Carol", "Dan", "Eve", "Frank")]
        bob = people[0]
        for person in people:
            await person.write(ada, "Hello")
        await ada.put(f"/conversations/{bob.id}", pinned=True)
        read: list[str] = []

        async def in_small_pages(route: Route) -> None:
            # Bob's conversation is on the second page; once the first is read he moves it to the top.
            if len(read) == 1:
                await bob.write(ada, "Between two pages")
            read.append(route.request.url)
            await route.continue_(url=route.request.url.replace("limit=200", "limit=3"))

        tab = await sit(blank=True)
        await tab.page.route("**/conversations?*", in_small_pages)
        await tab.open(ada)
        await expect(tab.page.locator("#conversations strong")).to_have_text(["Bob", "Frank", "Eve", "Dan", "Carol"])
        await people[4].write(ada, "Later")
        await expect(tab.row("Frank").locator("small")).to_have_text("Later")
        await expect(tab.page.locator("#conversations strong")).to_have_text(["Bob", "Frank", "Eve", "Dan", "Carol"])
        await expect(tab.badge("Bob")).to_have_text("2")
        assert len(read) == 3

    async def test_conversations_moving_repeatedly_are_all_loaded(self, sit: Sit) -> None:
        tab = await sit()
        # `moves` are the conversations that move to the top before each read.
        found = await tab.page.evaluate("""async () => {
          const { loadAll } = await import("/demo/loading.js");
          const views = Array.from({ length: 12 }, (_, id) => ({ target: { id }, last_seq: 1, at: 100 - id }));
          const moves = [[], [11], [10, 9, 8], [7], [11], []];
          let clock = 100;
          async function get(path) {
            if (!path.startsWith("/conversations")) return {};
            for (const view of (moves.shift() ?? []).map((id) => views[id])) {
              view.at = ++clock;
              view.last_seq++;
            }
            const before = Number(new URLSearchParams(path.split("?")[1]).get("cursor") ?? Infinity);
            const items = views.filter(({ at }) => at < before).sort((a, b) => b.at - a.at).slice(0, 3);
            const end = items.at(-1).at;
            const isLast = end === Math.min(...views.map(({ at }) => at));
            return { items: structuredClone(items), next: isLast ? null : String(end), cursor: "c" };
          }
          const { conversations, cursor } = await loadAll({ get, all: async () => [] });
          const ids = conversations.map(({ target }) => target.id).sort((a, b) => a - b);
          return { cursor, ids, left: moves.length };
        }""")
        assert found == {"cursor": "c", "ids": list(range(12)), "left": 0}


class TestGoneMessages:
    @pytest.mark.parametrize("reader_hides", [False, True])
    async def test_live_list_equals_freshly_loaded_list(self, sit: Sit, account: Make, reader_hides: bool) -> None:
        bob = await account("Bob")
        ada = await account("Ada", bob)
        messages = await bob.write(ada, "One", "Two", "Three")
        tab = await sit(ada)
        await expect(tab.badge("Bob")).to_have_text("3")
        preview = tab.row("Bob").locator("small")
        for index, text in ((1, "Three"), (2, "One"), (0, "Say hello")):
            who, scope = (ada, "me") if reader_hides else (bob, "everyone")
            await who.delete(f"/messages/{messages[index]['id']}?for={scope}")
            await expect(preview).to_have_text(text)
        await expect(tab.badge("Bob")).to_have_text("")
        await tab.page.reload()
        await tab.is_live()
        await expect(preview).to_have_text("Say hello")
        await expect(tab.badge("Bob")).to_have_text("")
        await bob.write(ada, "Four")
        await expect(preview).to_have_text("Four")
        await expect(tab.badge("Bob")).to_have_text("1")
