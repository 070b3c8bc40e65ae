"""Its application, and the five endpoints."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload
from uuid_utils.compat import uuid7

from _yardsticks.baseline import models, wire

engine = create_async_engine(
    os.environ["YARDSTICK_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=int(os.environ["YARDSTICK_POOL_SIZE"]),
    max_overflow=0,
    connect_args={"server_settings": {"application_name": "baseline", "jit": "off", "timezone": "UTC"}},
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


def app() -> FastAPI:
    """The application."""
    return _app


_app = FastAPI()


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def get_current_device(authorization: Annotated[str, Header()] = "") -> models.Device:
    """Who asks; its activity is stamped at every request."""
    token = authorization.removeprefix("Bearer ")
    now = _now()
    async with sessions() as session:
        found = await session.execute(
            select(models.Device).where(
                models.Device.access_hash == hashlib.sha256(token.encode()).digest(),
                models.Device.access_expires_at > now,
            )
        )
        device = found.scalar_one_or_none()
        if device is None:
            raise HTTPException(401, "unauthenticated")
        device.last_activity = now
        device.user.last_activity = now
        await session.commit()
        return device


CurrentDevice = Annotated[models.Device, Depends(get_current_device)]


async def get_current_user(device: CurrentDevice) -> models.User:
    return device.user


CurrentUser = Annotated[models.User, Depends(get_current_user)]
Session = Annotated[AsyncSession, Depends(get_session)]
Limit = Annotated[int, Query(ge=1, le=200)]


@_app.get("/profile")
async def profile(user: CurrentUser, session: Session) -> wire.Profile:
    user = await session.merge(user)
    return wire.Profile(
        id=user.id,
        username=user.username or "",
        name=user.name,
        about=user.about,
        avatar=wire.Avatar.of(user, mutual=True),
        status=user.status,
        status_text=user.status_text,
        last_activity=user.last_activity,
        created_at=user.created_at,
        privacy=wire.Privacy(
            last_seen=user.privacy_last_seen,
            avatar=user.privacy_avatar,
            messages_from=user.privacy_messages_from,
            calls_from=user.privacy_calls_from,
            groups_from=user.privacy_groups_from,
            receipts=user.privacy_receipts or "contacts",
            forwards=user.privacy_forwards,
        ),
    )


@_app.get("/contacts")
async def contacts(
    user: CurrentUser, session: Session, state: str | None = None, limit: Limit = 50, cursor: int = 0
) -> wire.ContactPage:
    user = await session.merge(user)
    query = (
        select(models.Contact)
        .where(models.Contact.owner_id == user.id, models.Contact.target_id > cursor)
        .options(selectinload(models.Contact.target))
    )
    if state is not None:
        query = query.where(models.Contact.state == state)
    found = (await session.scalars(query.order_by(models.Contact.target_id).limit(limit + 1))).all()
    items = [
        wire.Contact(
            user=wire.User(
                id=contact.target_id,
                username=contact.target.username,
                name=contact.target.name,
                avatar=wire.Avatar.of(contact.target, contact.state == "mutual"),
            ),
            state=contact.state,
            alias=contact.alias,
            message=contact.message,
            since=contact.since,
        )
        for contact in found[:limit]
    ]
    return wire.ContactPage(items=items, next=str(items[-1].user.id) if len(found) > limit else None)


@_app.get("/statuses")
async def statuses(
    user: CurrentUser, session: Session, cursor: int = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 1000
) -> wire.Statuses:
    user = await session.merge(user)
    found = (
        await session.scalars(
            select(models.Contact)
            .where(
                models.Contact.owner_id == user.id,
                models.Contact.state == "mutual",
                models.Contact.target_id > cursor,
            )
            .order_by(models.Contact.target_id)
            .limit(limit + 1)
            .options(selectinload(models.Contact.target))
        )
    ).all()
    more, found = len(found) > limit, found[:limit]
    connected = set(
        await session.scalars(
            select(models.Connection.user_id)
            .join(models.Worker, models.Worker.id == models.Connection.worker_id)
            .where(
                models.Connection.user_id.in_([contact.target_id for contact in found]),
                models.Worker.seen_at > datetime.now(UTC) - timedelta(seconds=30),
            )
        )
    )
    items = [_status(contact.target, contact.target_id in connected) for contact in found]
    return wire.Statuses(items=items, next=str(items[-1].user_id) if more else None)


def _status(user: models.User, connected: bool) -> wire.Status:
    seen = user.privacy_last_seen != "nobody"
    return wire.Status(
        user_id=user.id,
        status="online" if user.status == "invisible" else user.status,
        status_text=user.status_text,
        online=seen and connected and user.invisible_since is None,
        last_activity=(user.invisible_since or user.last_activity) if seen else None,
    )


@_app.get("/history/{target_id}")
async def history(
    target_id: int,
    user: CurrentUser,
    session: Session,
    before: int | None = None,
    limit: Limit = 50,
) -> wire.History:
    user = await session.merge(user)
    member = await _member(session, user.id, target_id)
    if member is None:
        if await session.get(models.User, target_id) is None:
            raise HTTPException(404, "peer_not_found")
        return wire.History(items=[], next=None, last_seq=0, first_unread=None, notices=[])
    conversation = await session.get_one(models.Conversation, member.conversation_id)
    query = select(models.Message).where(models.Message.conversation_id == conversation.id)
    if before is not None:
        query = query.where(models.Message.seq < before)
    found = (await session.scalars(query.order_by(models.Message.seq.desc()).limit(limit + 1))).all()
    hidden = await session.scalars(
        select(models.HiddenMessage).where(
            models.HiddenMessage.user_id == user.id, models.HiddenMessage.message_id.in_([each.id for each in found])
        )
    )
    hidden_at = {each.message_id: each.at for each in hidden}
    now = _now()
    items = [wire.Message.of(each, target_id, now, hidden_at.get(each.id)) for each in reversed(found[:limit])]
    return wire.History(
        items=items,
        next=items[0].seq if len(found) > limit else None,
        last_seq=conversation.last_seq,
        first_unread=member.read_seq + 1 if member.read_seq < conversation.last_seq else None,
        notices=[],
    )


@_app.post("/messages", status_code=201)
async def send(
    draft: wire.Draft, device: CurrentDevice, user: CurrentUser, session: Session, response: Response
) -> wire.Message:
    user = await session.merge(user)
    now = _now()
    fingerprint = hashlib.sha256(draft.model_dump_json(exclude={"client_id"}).encode()).digest()[:16]
    earlier = await session.scalar(
        select(models.Message).where(models.Message.sender_id == user.id, models.Message.client_id == draft.client_id)
    )
    if earlier is not None:
        if earlier.fingerprint != fingerprint:
            raise HTTPException(409, "client_id_reused")
        response.status_code = 200
        return wire.Message.of(earlier, draft.target_id, now)
    await _ensure_may_write(session, user, draft.target_id)
    conversation = await _lock_conversation(session, user, draft.target_id, now)
    if draft.reply_to is not None:
        original = await session.get(models.Message, draft.reply_to)
        if original is None or original.conversation_id != conversation.id:
            raise HTTPException(404, "message_not_found")
    conversation.last_seq += 1
    conversation.last_at = max(conversation.last_at, now)
    lifetime = timedelta(seconds=conversation.expire_after) if conversation.expire_after else None
    message = models.Message(
        id=uuid7(),
        conversation_id=conversation.id,
        seq=conversation.last_seq,
        sender_id=user.id,
        sender_device_id=device.id,
        fingerprint=fingerprint,
        created_at=conversation.last_at,
        expires_at=conversation.last_at + lifetime if lifetime else None,
        **draft.model_dump(exclude={"target_id"}),
    )
    session.add(message)
    own = await _member(session, user.id, draft.target_id)
    other = await _member(session, draft.target_id, user.id)
    assert own is not None
    assert other is not None
    own.read_seq = own.delivered_seq = message.seq
    own.last_minute = other.last_minute = conversation.last_at.replace(second=0, microsecond=0)
    await _tell(session, message, [user.id, draft.target_id], now)
    await session.commit()
    return wire.Message.of(message, draft.target_id, now)


async def _member(session: AsyncSession, user_id: int, target_id: int) -> models.Member | None:
    return await session.scalar(
        select(models.Member).where(models.Member.user_id == user_id, models.Member.target_id == target_id)
    )


async def _ensure_may_write(session: AsyncSession, user: models.User, target_id: int) -> None:
    target = await session.get(models.User, target_id)
    if target is None or target.deleted_at or target.disabled_at:
        raise HTTPException(404, "peer_not_found")
    if target.id == user.id:
        raise HTTPException(400, "cannot_target_self")
    mine = await session.get(models.Contact, (user.id, target_id))
    theirs = await session.get(models.Contact, (target_id, user.id))
    if "blocked" in {mine and mine.state, theirs and theirs.state}:
        raise HTTPException(403, "not_a_contact")
    mutual = mine is not None and mine.state == "mutual"
    audience = target.privacy_messages_from
    if not (audience == "everyone" or (audience == "contacts" and mutual)):
        raise HTTPException(403, "not_a_contact")


async def _lock_conversation(
    session: AsyncSession, user: models.User, target_id: int, now: datetime
) -> models.Conversation:
    low, high = sorted((user.id, target_id))
    conversation = await session.scalar(
        select(models.Conversation)
        .where(models.Conversation.low_id == low, models.Conversation.high_id == high)
        .with_for_update()
    )
    if conversation is None:
        conversation = models.Conversation(kind="direct", low_id=low, high_id=high, last_seq=0, last_at=now)
        session.add(conversation)
        await session.flush()
        for one, other in ((low, high), (high, low)):
            session.add(models.Member(conversation_id=conversation.id, user_id=one, target_id=other))
        await session.flush()
    return conversation


async def _tell(session: AsyncSession, message: models.Message, users: list[int], now: datetime) -> None:
    streams = await session.scalars(
        select(models.Stream).where(models.Stream.user_id.in_(users)).order_by(models.Stream.user_id).with_for_update()
    )
    for stream in streams:
        stream.position += 1
        session.add(
            models.Event(
                user_id=stream.user_id, position=stream.position, name="message.created", subject=message.id, at=now
            )
        )
