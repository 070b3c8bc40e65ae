"""Familiar addresses: digests of the addresses from which accounts recently signed in or refreshed."""

from __future__ import annotations

from datetime import timedelta

ADDRESSES_KEPT = 32
"""Familiar addresses kept for an account; the newest ones stay."""

ADDRESSES_KEPT_FOR = timedelta(days=90)


def familiarise(user_id: str) -> str:
    """Two common table expressions that add `:address_digest` to the familiar addresses of an account (SQL of its ID).

    A row is written at most once a day, however often its address is used.
    """
    return f"""
    familiar AS (
        INSERT INTO familiar_addresses AS f (user_id, digest, seen_at)
        SELECT {user_id}, :address_digest::bytea, :now WHERE {user_id} IS NOT NULL
        ON CONFLICT (user_id, digest) DO UPDATE SET seen_at = excluded.seen_at
            WHERE f.seen_at < excluded.seen_at - interval '1 day'
    ),
    unfamiliar AS (
        DELETE FROM familiar_addresses WHERE user_id = {user_id} AND digest IN (
            SELECT f.digest FROM familiar_addresses AS f WHERE f.user_id = {user_id} AND f.digest <> :address_digest
            ORDER BY f.seen_at DESC OFFSET {ADDRESSES_KEPT - 1}
        )
    )
    """
