"""Calls for accounts, devices, your own profile and your avatar."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from messenger.client.calls import Calls
from messenger.client.errors import SignedOut
from messenger.client.http import Request
from messenger.schemas.accounts import (
    DevicePage,
    DeviceView,
    EraseDraft,
    LoginDraft,
    PasswordDraft,
    RegisterDraft,
    SignedInView,
)
from messenger.schemas.calls import IceServersView
from messenger.schemas.users import (
    AvatarView,
    ProfilePatch,
    ProfileView,
    SettingsPatch,
    SettingsView,
    UploadedAvatarView,
)


class AccountCalls(Calls):
    """Register, sign in and out, and manage your own account."""

    async def register(
        self,
        username: str,
        password: str,
        *,
        name: str | None = None,
        device_name: str | None = None,
        idempotency_key: str | None = None,
    ) -> SignedInView:
        """Create an account and sign in this device. Raises `ApiError`: `username_taken`, `password_weak`.

        `idempotency_key`: to retry a call whose response was lost, pass its key; no second account is created.
        """
        draft = RegisterDraft(username=username, password=password, name=name or username, device_name=device_name)
        return await self._sign_in("/register", draft, idempotency_key)

    async def login(
        self, login: str, password: str, *, device_name: str | None = None, idempotency_key: str | None = None
    ) -> SignedInView:
        """Sign this device in, by username or number. Raises `ApiError`: `invalid_credentials`."""
        draft = LoginDraft(login=login, password=password, device_name=device_name)
        return await self._sign_in("/login", draft, idempotency_key)

    async def _sign_in(self, path: str, draft: RegisterDraft | LoginDraft, key: str | None) -> SignedInView:
        headers = {} if key is None else {"Idempotency-Key": key}
        request = Request(method="POST", path=path, body=draft, public=True, keyed=key is None, headers=headers)
        view = await self._http.call(request, SignedInView)
        await self._http.keeper.store(view.tokens)
        return view

    async def refresh(self) -> None:
        """Refresh the tokens now. Raises `SignedOut`."""
        tokens = self._http.keeper.tokens
        await self._http.keeper.renew(tokens.access_token if tokens else "")

    async def logout(self) -> None:
        """Sign out this device and discard its tokens; they are kept if the server cannot be reached."""
        # Already signed out: nothing left to do.
        with contextlib.suppress(SignedOut):
            await self._http.response(Request(method="POST", path="/logout"))
        await self._http.keeper.drop()

    async def change_password(self, old_password: str, new_password: str) -> None:
        """Change the password and sign out every other device."""
        draft = PasswordDraft(old_password=old_password, new_password=new_password)
        await self._http.response(Request(method="POST", path="/password", body=draft, repeatable=False))

    async def erase_account(self, password: str) -> None:
        """Erase the account permanently."""
        draft = EraseDraft(password=password)
        await self._http.response(Request(method="DELETE", path="/account", body=draft, repeatable=False))
        await self._http.keeper.drop()

    async def export_account(self) -> bytes:
        """Everything that the server stores about this account, as a ZIP archive."""
        return (await self._http.response(Request(method="GET", path="/account/export", repeatable=False))).content

    async def devices(self) -> AsyncIterator[DeviceView]:
        """Iterate over the signed-in devices of the account, oldest first."""
        cursor: str | None = None
        while True:
            params = {"limit": 200, **({"cursor": cursor} if cursor else {})}
            page = await self._http.call(Request(method="GET", path="/devices", params=params), DevicePage)
            for device in page.items:
                yield device
            cursor = page.next
            if cursor is None:
                return

    async def sign_out_device(self, device_id: UUID) -> None:
        """Sign out another device of your account."""
        await self._http.response(Request(method="DELETE", path=f"/devices/{device_id}"))

    async def profile(self) -> ProfileView:
        """Get your own profile."""
        return await self._http.call(Request(method="GET", path="/profile"), ProfileView)

    async def update_profile(self, patch: ProfilePatch) -> ProfileView:
        """Change the fields that are set in the patch."""
        return await self._http.call(Request(method="PUT", path="/profile", body=patch), ProfileView)

    async def settings(self) -> SettingsView:
        """Get the settings of your account, which others do not see."""
        return await self._http.call(Request(method="GET", path="/settings"), SettingsView)

    async def update_settings(self, patch: SettingsPatch) -> SettingsView:
        """Change the settings that are set in the patch."""
        return await self._http.call(Request(method="PUT", path="/settings", body=patch), SettingsView)

    async def upload_avatar(self, image: bytes) -> AvatarView:
        """Replace your avatar with a JPEG, PNG, WebP or GIF image."""
        request = Request(method="POST", path="/avatar/upload", file=image, keyed=True)
        return (await self._http.call(request, UploadedAvatarView)).avatar

    async def remove_avatar(self) -> None:
        """Delete your avatar."""
        await self._http.response(Request(method="DELETE", path="/avatar/"))

    async def avatar(self, url: str) -> bytes:
        """Download an avatar image by its `url` or `thumb_url`."""
        return (await self._http.response(Request(method="GET", path=url, public=True))).content

    async def ice_servers(self) -> IceServersView:
        """Get STUN and TURN servers for a call."""
        return await self._http.call(Request(method="GET", path="/ice_servers"), IceServersView)
