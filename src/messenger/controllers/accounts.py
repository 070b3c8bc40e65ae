"""Accounts, devices, tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import IO, Annotated
from uuid import UUID

from anyio import to_thread
from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream

from messenger.errors import (
    DeviceNotFound,
    IdempotencyKeyReused,
    InvalidCredentials,
    InvalidRefreshToken,
    PasswordWeak,
    RateLimited,
    RefreshTokenReused,
    RefreshTokenSuperseded,
    UsernameTaken,
)
from messenger.schemas.accounts import (
    DevicePage,
    EraseDraft,
    LoginDraft,
    PasswordDraft,
    RefreshDraft,
    RefreshedView,
    RegisterDraft,
    SignedInView,
)
from messenger.web.parameters import PageLimit
from messenger.web.request import WireRequest
from messenger.web.response_hook import FILE_POLICY
from messenger.web.route_options import authenticated, public


class AccountController(Controller):
    """Sign-up, sign-in, tokens and devices."""

    tags = ("Accounts",)

    @post(
        "/register",
        operation_id="register",
        summary="Create an account and sign in its first device",
        **public(UsernameTaken, PasswordWeak, IdempotencyKeyReused, RateLimited, body=True),
    )
    async def register(self, request: WireRequest, data: JSONBody[RegisterDraft]) -> SignedInView:
        return await request.services.accounts.register(data, address=request.address, once=await request.once())

    @post(
        "/login",
        operation_id="login",
        status_code=200,
        summary="Sign in on a new device",
        **public(InvalidCredentials, IdempotencyKeyReused, RateLimited, body=True),
    )
    async def login(self, request: WireRequest, data: JSONBody[LoginDraft]) -> SignedInView:
        return await request.services.accounts.login(data, address=request.address, once=await request.once())

    @post(
        "/token/refresh",
        operation_id="refreshToken",
        status_code=200,
        summary="Exchange a refresh token for a new token pair",
        **public(InvalidRefreshToken, RefreshTokenSuperseded, RefreshTokenReused, RateLimited, body=True),
    )
    async def refresh(self, request: WireRequest, data: JSONBody[RefreshDraft]) -> RefreshedView:
        return await request.services.devices.refresh(data.refresh_token, address=request.address)

    @post("/logout", operation_id="logout", status_code=204, summary="Sign out this device", **authenticated())
    async def logout(self, request: WireRequest) -> None:
        await request.services.devices.logout(request.caller)

    @post(
        "/password",
        operation_id="changePassword",
        status_code=204,
        summary="Change the password and sign out all other devices",
        **authenticated(InvalidCredentials, PasswordWeak, RateLimited, body=True),
    )
    async def change_password(self, request: WireRequest, data: JSONBody[PasswordDraft]) -> None:
        await request.services.accounts.change_password(request.caller, data.old_password, data.new_password)

    @get("/devices", operation_id="listDevices", summary="List your signed-in devices", **authenticated(query=True))
    async def list_devices(
        self,
        request: WireRequest,
        limit: PageLimit = 50,
        cursor: Annotated[UUID | None, QueryParameter(description="`next` from the previous page")] = None,
    ) -> DevicePage:
        return await request.services.devices.list_devices(request.caller, after=cursor, limit=limit)

    @delete(
        "/devices/{device_id:uuid}",
        operation_id="signOutDevice",
        summary="Sign out one of your devices",
        **authenticated(DeviceNotFound, query=True),
    )
    async def sign_out(self, request: WireRequest, device_id: FromPath[UUID]) -> None:
        await request.services.devices.sign_out(request.caller, device_id)

    @delete(
        "/account",
        operation_id="eraseAccount",
        summary="Permanently erase your account",
        **authenticated(InvalidCredentials, RateLimited, body=True),
    )
    async def erase(self, request: WireRequest, data: JSONBody[EraseDraft]) -> None:
        await request.services.accounts.erase(request.caller, data.password)

    @get(
        "/account/export",
        operation_id="exportAccount",
        summary="Export all data of your account as a ZIP archive",
        media_type="application/zip",
        **authenticated(RateLimited),
    )
    async def export(self, request: WireRequest) -> Stream:
        archive = await request.services.exports.archive(request.caller)
        headers = {
            "Content-Disposition": 'attachment; filename="account.zip"',
            "Content-Security-Policy": FILE_POLICY,
        }
        return Stream(_chunks(archive), media_type="application/zip", headers=headers)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await to_thread.run_sync(file.read, 65536):
            yield chunk
    finally:
        file.close()
