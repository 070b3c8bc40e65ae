"""Answering contact requests, and invitations to groups."""

from __future__ import annotations

from messenger.chat.talk import Talk


def is_asking(talk: Talk, peer: int) -> bool:
    """Whether a user waits for your answer, or you are invited to a group."""
    contact = talk.state.contacts.get(peer)
    return peer in talk.state.invitations or (contact is not None and contact.state == "pending_in")


async def answer(talk: Talk, peer: int, *, accept: bool) -> None:
    """Accept or decline. Raises `ClientError`."""
    if peer not in talk.state.invitations:
        await talk.client.confirm(peer, accept=accept)
    elif accept:
        talk.state.keep_group(await talk.client.accept_invitation(peer))
        talk.state.invitations.pop(peer, None)
    else:
        await talk.client.decline_invitation(peer)
