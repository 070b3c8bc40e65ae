"""The receipts of a message as its sender sees them."""

from __future__ import annotations

from collections.abc import Sequence

from messenger.repositories.message_receipts import MessageReceiptRow
from messenger.schemas.messages import MessageReceiptPage, MessageReceiptView
from messenger.services._views import user_view


def receipt_page(rows: Sequence[MessageReceiptRow], limit: int) -> MessageReceiptPage:
    """A page of `limit` receipts, from one row more if there are more."""
    shown = [
        MessageReceiptView(user_view(row.user), row.read, row.delivered) for row in rows[:limit] if row.user is not None
    ]
    first = rows[0]
    counts = (first.members, first.read_count, first.delivered_count) if first.counted else (None, None, None)
    return MessageReceiptPage(shown, str(shown[-1].user.id) if len(rows) > limit else None, *counts)
