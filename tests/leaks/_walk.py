"""All requests of a client, with a canary in each place; requests that must fail carry canaries too."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
from PIL.PngImagePlugin import PngInfo

from tests.leaks._canaries import Canaries
from tests.leaks._evidence import Problems
from tests.support.images import encoded, noise
from tests.support.sockets import Realtime

_ENVELOPE = {
    "algorithm": "aes-256-gcm",
    "kdf": {"name": "argon2id", "salt": "c2FsdCBvZiAxNiBieXRlcw==", "memory_kib": 65536, "iterations": 3},
    "nonce": "bm9uY2Ugb2YgMTIu",
}


class Walk:
    """One account and its requests; `tokens` is every token that it ever received."""

    def __init__(self, client: httpx.AsyncClient, realtime: Realtime, canaries: Canaries, problems: Problems) -> None:
        self._client = client
        self._realtime = realtime
        self._problems = problems
        self.canaries = canaries
        self.username = f"u{uuid.uuid4().hex[:12]}"
        self.tokens: list[str] = []
        self.access = ""
        self.refresh = ""
        self.id = 0

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request of this account, with all headers of a client."""
        canaries = self.canaries
        headers = {
            "User-Agent": canaries["user_agent"],
            "Cookie": f"session={canaries['cookie']}",
            "Referer": f"https://elsewhere.example/{canaries['referer']}",
            **({"Authorization": f"Bearer {self.access}"} if self.access else {}),
            **options.pop("headers", {}),
        }
        return await self._client.request(method, path, headers=headers, **options)

    async def sign_up(self, password: str) -> None:
        """Register, twice with one key: the second answer equals the first."""
        canaries = self.canaries
        body = {
            "username": self.username,
            "password": password,
            "name": canaries["name"],
            "device_name": canaries["device_name"],
        }
        key = {"Idempotency-Key": f"{canaries['idempotency_key']}-{self.username}"}
        for _ in range(2):
            self._keep(await self.ask("POST", "/register", json=body, headers=key))

    def _keep(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            return
        signed_in = answer.json()
        tokens = signed_in["tokens"]
        self.access, self.refresh = tokens["access_token"], tokens["refresh_token"]
        self.tokens += [self.access, self.refresh]
        if "user" in signed_in:
            self.id = signed_in["user"]["id"]

    async def renew(self) -> None:
        """Refresh, sign in again, change the password; try a wrong one each time."""
        canaries = self.canaries
        self._keep(await self.ask("POST", "/token/refresh", json={"refresh_token": self.refresh}))
        login = {"login": self.username, "device_name": canaries["device_name"]}
        key = {"Idempotency-Key": f"{canaries['idempotency_key']}-again"}
        self._keep(await self.ask("POST", "/login", json={**login, "password": canaries["password"]}, headers=key))
        await self.ask("POST", "/login", json={**login, "password": canaries["guessed_password"]}, headers=key)
        await self.ask("POST", "/token/refresh", json={"refresh_token": canaries["forged_refresh_token"]})
        for old in (canaries["guessed_old_password"], canaries["password"]):
            body = {"old_password": old, "new_password": canaries["new_password"]}
            await self.ask("POST", "/password", json=body)
        await self.ask("DELETE", "/account", json={"password": canaries["guessed_password"]})

    async def describe(self) -> None:
        """The profile, an avatar, the safe, relays; and refused changes."""
        canaries = self.canaries
        await self.ask("PUT", "/profile", json={"about": canaries["about"], "status_text": canaries["status_text"]})
        await self.ask("PUT", "/profile", json={"about": canaries["refused_body"] * 40})
        await self.ask("PUT", "/profile", json={canaries["unknown_field"]: 1})
        comment = PngInfo()
        comment.add_text("Comment", canaries["file_comment"])
        for image in (encoded(noise((24, 24)), pnginfo=comment), canaries["file_comment"].encode()):
            await self.ask("POST", "/avatar/upload", files={"file": (canaries["file_name"], image, "image/png")})
        envelope = {**_ENVELOPE, "ciphertext": canaries["ciphertext"]}
        await self.ask("POST", "/e2e/secret_key", json=envelope)
        await self.ask("POST", "/e2e/secret_key", json={**envelope, "plain": canaries["bad_envelope"]})
        await self.ask("GET", "/e2e/secret_key")
        await self.ask("GET", "/ice_servers")

    async def meet(self, other: Walk) -> None:
        """A contact request with text, and an alias."""
        request = {"target_id": other.id, "message": self.canaries["request"]}
        await self.ask("POST", "/subscribe", json=request)
        await other.ask("POST", "/confirm_subscribe", json={"target_id": self.id})
        await self.ask("PUT", f"/contacts/{other.id}", json={"alias": self.canaries["alias"]})

    async def write(self, other: Walk) -> None:
        """Messages that stay, and messages that are removed."""
        canaries = self.canaries

        async def send(name: str, client_id: str) -> Any:
            body = {"target_id": other.id, "client_id": client_id, "body": canaries[name]}
            return (await self.ask("POST", "/messages", json=body)).json()

        await send("body", canaries["client_id"])
        await send("refused_body", canaries["client_id"])
        edited, deleted = await send("edited_away_body", uuid.uuid4().hex), await send("deleted_body", uuid.uuid4().hex)
        await self.ask("PATCH", f"/messages/{edited.get('id', uuid.UUID(int=0))}", json={"body": canaries["body"]})
        await self.ask("DELETE", f"/messages/{deleted.get('id', uuid.UUID(int=0))}")
        stranger = {"target_id": 99_999_999, "client_id": "1", "body": canaries["refused_body"]}
        await self.ask("POST", "/messages", json=stranger)
        await self.ask("POST", "/messages", content=f'{{"body": "{canaries["refused_body"]}')

    async def gather(self, other: Walk) -> None:
        """Groups: an invitation and a request to join that stay open, a ban; and refused changes."""
        canaries = self.canaries
        draft = {"name": canaries["group_name"], "about": canaries["group_about"]}
        groups = [(await self.ask("POST", "/groups", json=draft)).json().get("group", {}).get("id", 1) for _ in "12"]
        path = f"/groups/{groups[0]}"
        await self.ask("PATCH", path, json={"name": canaries["refused_body"] * 40})
        invitation = {"user_ids": [other.id], "message": canaries["invitation"]}
        await self.ask("POST", f"{path}/invitations", json=invitation)
        link = await self.ask("POST", f"{path}/links", json={"name": canaries["link_name"], "approval": True})
        token = link.json().get("token", "none")
        await other.ask("POST", f"/links/{token}/join", json={"message": canaries["join_request"]})
        await other.ask("GET", f"/links/{canaries['forged_link']}")
        await self.ask("PUT", f"/groups/{groups[1]}/bans/{other.id}", json={"reason": canaries["ban_reason"]})
        for page in ("", "/members", "/links", "/requests", "/bans", "/log"):
            await self.ask("GET", f"{path}{page}")

    async def wander(self) -> None:
        """Values outside of bodies: paths, queries, forged tokens; and routes that are not accessible."""
        canaries = self.canaries
        forged = {"Authorization": f"Bearer {canaries['forged_access_token']}"}
        await self.ask("GET", "/profile", headers=forged)
        await self.ask("GET", "/profile", params={"access_token": canaries["query"]})
        await self.ask("GET", "/users", params={"username": canaries["looked_up"]})
        await self.ask("GET", f"/avatars/{canaries['path']}")
        await self.ask("GET", f"/avatars/{canaries['avatar_key']}")
        await self.ask("GET", f"/{canaries['path']}")
        await self.ask("GET", "/ws", params={"ticket": canaries["forged_ticket"]}, headers={"Authorization": ""})
        for path in ("/sync?cursor=e0", "/contacts", "/conversations", "/devices", "/account/export", "/metrics"):
            await self.ask("GET", path)

    async def talk(self, other: Walk) -> None:
        """Use a socket that a ticket has opened."""
        canaries = self.canaries
        ticket = (await self.ask("POST", "/ws/ticket")).json().get("ticket")
        if ticket is None:
            return
        self.tokens.append(ticket)
        async with self._realtime.wire(query=f"?ticket={ticket}", live=False) as wire:
            requests: dict[str, dict[str, Any]] = {
                "message.send": {"client_id": uuid.uuid4().hex, "body": canaries["socket_body"]},
                "call.signal": {"call_id": str(uuid.uuid4()), "payload": {"sdp": canaries["call_payload"]}},
                "typing": {"typing": canaries["refused_body"]},
            }
            for method, data in requests.items():
                self._problems.see_reply(await wire.ask(method, target_id=other.id, **data))
            self._problems.see_reply(await wire.ask(canaries["path"], body=canaries["refused_body"]))
