"""One tab with the demo in it, and the account that is signed in there."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx
from playwright.async_api import ConsoleMessage, Error, Locator, Page, expect

# Stored as the page stores it, before its first script runs, and only once, so that a reload finds the page's own
# changes.
_SIGN_IN = """
if (location.pathname === "/demo" && sessionStorage.length === 0) Object.assign(sessionStorage, KEPT);
"""


class Account:
    """An account with a device that the test uses beside the browser."""

    def __init__(self, answer: dict[str, Any], http: httpx.AsyncClient) -> None:
        self.answer = answer
        self.id: int = answer["user"]["id"]
        self.name: str = answer["user"]["name"]
        self.username: str = answer["user"]["username"]
        self._http = http
        self._headers = {"Authorization": f"Bearer {answer['tokens']['access_token']}"}

    @classmethod
    def of(cls, answer: dict[str, Any], http: httpx.AsyncClient) -> Account:
        return cls(answer, http)

    async def post(self, path: str, **body: object) -> Any:
        """The response body; fails unless the request succeeds."""
        answer = await self._http.post(path, json=body, headers=self._headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def put(self, path: str, **body: object) -> Any:
        return await self._change("PUT", path, body)

    async def patch(self, path: str, **body: object) -> Any:
        return await self._change("PATCH", path, body)

    async def _change(self, method: str, path: str, body: dict[str, object]) -> Any:
        answer = await self._http.request(method, path, json=body, headers=self._headers)
        answer.raise_for_status()
        return answer.json()

    async def delete(self, path: str, **body: object) -> None:
        answer = await self._http.request("DELETE", path, json=body or None, headers=self._headers)
        answer.raise_for_status()

    async def show(self, picture: bytes) -> None:
        """Set the avatar."""
        answer = await self._http.post("/avatar/upload", files={"file": picture}, headers=self._headers)
        answer.raise_for_status()

    async def get(self, path: str) -> Any:
        answer = await self._http.get(path, headers=self._headers)
        answer.raise_for_status()
        return answer.json()

    async def write(self, to: Account, *bodies: str) -> list[Any]:
        """Send messages, one after the other."""
        return [
            await self.post("/messages", target_id=to.id, client_id=secrets.token_hex(8), body=body) for body in bodies
        ]


class Tab:
    """The actions of a user in the page, and what the page shows."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self._announced: list[str] = []
        # The machine may be busy with other tests.
        page.set_default_timeout(15_000)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)

    def announce(self, *texts: str) -> None:
        """Expect this error: the browser reports each refused request on its console."""
        self._announced += texts

    def _on_console(self, message: ConsoleMessage) -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type in {"error", "warning"} and not any(text in text for text in self._announced):
            self.faults.append(f"{message.type}: {text}")

    def _on_error(self, error: Error) -> None:
        self.faults.append(f"{error.name}: {error.message} {error.stack}")

    # --- getting in ---

    async def open(self, account: Account | None = None) -> None:
        """Open the page, signed in as the device of this account if one is given."""
        if account is None:
            await self.page.goto("/demo")
            return
        identity = {"user": account.answer["user"], "device": account.answer["device"]}
        kept = {"messenger.identity": json.dumps(identity), "messenger.tokens": json.dumps(account.answer["tokens"])}
        await self.page.add_init_script(_SIGN_IN.replace("KEPT", json.dumps(kept)))
        await self.page.goto("/demo")
        await self.is_live()

    async def sign_in(self, login: str, password: str) -> None:
        form = self.page.locator("#sign-in")
        await form.get_by_label("Username or number").fill(login)
        await form.get_by_label("Password").fill(password)
        await form.get_by_role("button", name="Sign in").click()

    async def register(self, name: str, username: str, password: str) -> None:
        await self.page.get_by_role("tab", name="Create account").click()
        form = self.page.locator("#register")
        await form.get_by_label("Name", exact=True).fill(name)
        await form.get_by_label("Username").fill(username)
        await form.get_by_label("Password").fill(password)
        await form.get_by_role("button", name="Create account").click()

    async def is_live(self) -> None:
        await expect(self.page.locator("#connection")).to_have_attribute("data-state", "live")

    # --- the list ---

    def row(self, name: str) -> Locator:
        """A chat in the list."""
        return self.page.locator("#conversations a", has_text=name)

    def dot(self, name: str) -> Locator:
        return self.row(name).locator(".avatar .dot")

    def badge(self, name: str) -> Locator:
        return self.row(name).locator(".badge")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    # --- the conversation ---

    @property
    def text(self) -> Locator:
        return self.page.get_by_label("Message", exact=True)

    @property
    def head(self) -> Locator:
        """The line below the other user's name."""
        return self.page.locator("#peer small")

    @property
    def bodies(self) -> Locator:
        """The texts of all messages, in order."""
        return self.page.locator(".message .body")

    def message(self, body: str) -> Locator:
        return self.page.locator(".message", has=self.page.get_by_text(body, exact=True))

    def mark(self, body: str) -> Locator:
        return self.message(body).locator(".mark")

    async def chat_with(self, name: str) -> None:
        await self.row(name).click()
        await expect(self.page.locator("#peer strong")).to_have_text(name)

    async def say(self, *bodies: str) -> None:
        for body in bodies:
            await self.text.fill(body)
            await self.text.press("Enter")

    async def act(self, body: str, action: str) -> None:
        """Choose an action from the menu of a message."""
        message = self.message(body)
        await message.hover()
        await message.get_by_role("button", name="Message actions").click()
        await message.get_by_role("menuitem", name=action).click()

    # --- settings ---

    async def open_settings(self) -> None:
        await self.page.get_by_role("button", name="Your profile, devices, sign out").click()
        await expect(self.page.locator("#settings")).to_be_visible()
