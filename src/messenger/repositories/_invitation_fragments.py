"""SQL of invitations that several statements share. All of it needs `i`, the invitation."""

from __future__ import annotations

INVITATION_DAYS = 30

OPEN_INVITATION = f"i.at > :now::timestamptz - interval '{INVITATION_DAYS} days'"

# Whether the invited user sees an invitation until it is too old: it is delivered, and its maker is still a member and
# not blocked by the user.
SHOWN_INVITATION = """i.delivered
            AND EXISTS (SELECT FROM members AS maker
                WHERE maker.user_id = i.inviter_id AND maker.target_id = i.group_id)
            AND NOT EXISTS (SELECT FROM contacts AS b
                WHERE b.owner_id = i.user_id AND b.target_id = i.inviter_id AND b.state = 'blocked')"""

VISIBLE_INVITATION = f"{OPEN_INVITATION} AND {SHOWN_INVITATION}"
