"""What must hold for groups: in the database by itself, after the acknowledged changes, and on every device."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec

from messenger.client import State
from messenger.testing.recorder import Findings
from tests.support.group_changes import BAN, MEMBERSHIP, Change, ChangeRecorder, possible
from tests.support.stored_groups import OWNER, RANKS, GroupRow, NoticeRow, Replay, StoredGroups, by_group


def check_groups(stored: StoredGroups, recorder: ChangeRecorder) -> Findings:
    """Check the database by itself, and against the changes whose outcomes are known."""
    findings = Findings()
    for group in stored.groups:
        findings.unexpected += _members(stored, group)
    findings.unexpected += _entries(stored)
    findings.unexpected += _links(stored, recorder)
    for group_id, notices in by_group(stored.notices):
        findings.unexpected += _notices(stored, group_id, notices)
    _streams(stored, findings)
    _changes(stored, recorder, findings)
    _names(stored, recorder, findings)
    return findings


def add(findings: Findings, more: Findings) -> None:
    """Add the faults of another check."""
    for kind, lines in more.faults.items():
        getattr(findings, kind).extend(lines)


# --- the database by itself -----------------------------------------------------------------------


def _members(stored: StoredGroups, group: GroupRow) -> Iterator[str]:
    members = stored.members_of(group.id)
    owners = [each.user_id for each in members.values() if each.rank == OWNER]
    if len(owners) != (0 if group.deleted else 1):
        yield f"{group.id}: its owners are {owners} (deleted: {group.deleted})"
    if group.member_count != len(members):
        yield f"{group.id}: member_count {group.member_count} of {len(members)} members"
    last = max((each.seq for each in stored.messages if each.group_id == group.id), default=0)
    if last != group.last_seq:
        yield f"{group.id}: last_seq {group.last_seq}, and the last message is {last}"


def _entries(stored: StoredGroups) -> Iterator[str]:
    members = {(each.group_id, each.user_id) for each in stored.members}
    kinds: dict[tuple[int, int], set[str]] = defaultdict(set)
    for each in stored.entries:
        kinds[each.group_id, each.user_id].add(each.kind)
    for (group_id, user_id), found in kinds.items():
        if (group_id, user_id) in members:
            yield f"{group_id}/{user_id}: a member with {sorted(found)}"
        elif "ban" in found and len(found) > 1:
            yield f"{group_id}/{user_id}: banned, with {sorted(found)}"


def _links(stored: StoredGroups, recorder: ChangeRecorder) -> Iterator[str]:
    joined = Counter(each.group_id for each in stored.notices if each.action == "joined_by_link")
    uses = {group_id: sum(each.uses for each in links) for group_id, links in by_group(stored.links)}
    kept = {each.id for each in stored.links}
    for link in stored.links:
        if link.max_uses is not None and link.uses > link.max_uses:
            yield f"{link.id}: {link.uses} uses of {link.max_uses}"
    for group_id in {*joined, *uses}:
        least = uses.get(group_id, 0)
        # Links that were revoked since are gone, with their uses.
        most = least + sum(each for link, each in recorder.links[group_id].items() if link not in kept)
        if not least <= joined[group_id] <= most:
            yield f"{group_id}: {joined[group_id]} have joined by links, which count {least} to {most}"


def _notices(stored: StoredGroups, group_id: int, notices: list[NoticeRow]) -> Iterator[str]:
    replay = Replay()
    for notice in notices:
        impossible = replay.apply(notice)
        if impossible:
            yield f"{notice.id}: in {group_id}, {impossible}"
    if next(each.deleted for each in stored.groups if each.id == group_id):
        # The last one to leave has no notice.
        return
    ranks = {user_id: each.rank for user_id, each in stored.members_of(group_id).items()}
    if replay.ranks != ranks:
        yield f"{group_id}: by its notices the ranks are {replay.ranks}, and they are {ranks}"


def _streams(stored: StoredGroups, findings: Findings) -> None:
    """Every member's stream has each message and each notice of the membership, once."""
    users = {each.user_id for each in stored.events}
    told: Counter[tuple[int, str]] = Counter()
    for event in stored.events:
        if event.name in {"message.created", "group.member", "group.updated"} and event.subject:
            told[event.user_id, event.subject] += 1
    messages = {group_id: sorted(found, key=lambda each: each.seq) for group_id, found in by_group(stored.messages)}
    for group_id, notices in by_group(stored.notices):
        replay, at = Replay(), 0
        left = messages.get(group_id, [])
        for notice in notices:
            before = set(replay.ranks)
            while at < len(left) and left[at].seq <= notice.after_seq:
                _expect(told, before & users, left[at].id, f"message {left[at].seq} of {group_id}", findings)
                at += 1
            replay.apply(notice)
            audience = (before | set(replay.ranks)) & users
            _expect(told, audience, notice.id, f"{notice.action} in {group_id}", findings, once=False)
        for message in left[at:]:
            _expect(told, set(replay.ranks) & users, message.id, f"message {message.seq} of {group_id}", findings)


def _expect(
    told: Counter[tuple[int, str]], users: set[int], subject: str, what: str, findings: Findings, *, once: bool = True
) -> None:
    for user_id in users:
        count = told[user_id, subject]
        if not count:
            findings.gaps.append(f"{subject}: {what} is not in the stream of {user_id}")
        elif once and count > 1:
            findings.duplicated.append(f"{subject}: {what} is {count} times in the stream of {user_id}")


# --- what was acknowledged ------------------------------------------------------------------------


def _changes(stored: StoredGroups, recorder: ChangeRecorder, findings: Findings) -> None:
    members = {(each.group_id, each.user_id) for each in stored.members}
    banned = {(each.group_id, each.user_id) for each in stored.entries if each.kind == "ban"}
    deleted = {each.id for each in stored.groups if each.deleted}
    for place, changes in recorder.by_membership():
        what = f"{place[0]}/{place[1]}:"
        if place[0] not in deleted and (place in banned) not in possible(changes, BAN):
            findings.lost.append(f"{what} banned: {place in banned}, after {_last(changes)}")
        if (place in members) not in possible(changes, MEMBERSHIP):
            findings.lost.append(f"{what} a member: {place in members}, after {_last(changes)}")
    known = {each.id: each for each in stored.groups}
    for group_id, version in recorder.versions.items():
        if group_id not in known or known[group_id].version < version:
            findings.lost.append(f"{group_id}: version {version} was acknowledged, stored is {known.get(group_id)}")


def _last(changes: list[Change]) -> str:
    return ", ".join(map(str, changes[-5:]))


def _names(stored: StoredGroups, recorder: ChangeRecorder, findings: Findings) -> None:
    """An acknowledged name was given once, a refused one never."""
    given = Counter(msgspec.json.decode(each.after or "null") for each in stored.notices if each.action == "renamed")
    for change in recorder.changes:
        if change.kind != "rename":
            continue
        count, what = given[change.name], f"{change.name}: the name"
        if count > 1:
            findings.duplicated.append(f"{what} was given {count} times")
        elif count and change.outcome == "fail":
            findings.unexpected.append(f"{what} was refused, and given")
        elif not count and change.outcome == "ok":
            findings.lost.append(f"{what} was acknowledged, and not given")


# --- devices --------------------------------------------------------------------------------------


def check_state(name: str, state: State, stored: StoredGroups) -> Iterator[str]:
    """How the groups of a state differ from those of the database."""
    mine = stored.memberships_of(state.me)
    if set(state.groups) != set(mine):
        yield f"{name}: is in the groups {sorted(state.groups)}, truly in {sorted(mine)}"
    known = {each.id for each in stored.groups}
    ghosts = known & {*state.conversations, *state.members, *state.messages, *state.notices} - set(mine)
    if ghosts:
        yield f"{name}: still has {sorted(ghosts)}, which it has left"
    for group in stored.groups:
        if group.id in mine and group.id in state.groups:
            yield from _group(f"{name}: of {group.id}", state, group, stored)


def _group(what: str, state: State, group: GroupRow, stored: StoredGroups) -> Iterator[str]:
    view, members = state.groups[group.id], stored.members_of(group.id)
    me = members[state.me]
    owner = next((each.user_id for each in members.values() if each.rank == OWNER), None)
    pairs: dict[str, tuple[object, object]] = {
        "member_count": (view.member_count, len(members)),
        "version": (view.version, group.version),
        "owner": (view.owner_id, owner),
        "own rank": (view.me.role, RANKS[me.rank]),
        "visible_from": (view.me.visible_from, me.visible_from),
        "members": (
            {user_id: (each.role, each.title) for user_id, each in state.members.get(group.id, {}).items()},
            {user_id: (RANKS[each.rank], each.title) for user_id, each in members.items()},
        ),
        "messages": (
            {seq: each.client_id for seq, each in state.messages.get(group.id, {}).items()},
            {
                each.seq: each.client_id
                for each in stored.messages
                if each.group_id == group.id and each.seq >= me.visible_from
            },
        ),
        # Which notices it has of the time before its first message depends on what it has loaded.
        "notices": (
            {str(each.id): each.action for each in state.notices_of(group.id) if each.after_seq >= me.visible_from},
            {
                each.id: each.action
                for each in stored.notices
                if each.group_id == group.id and each.after_seq >= me.visible_from
            },
        ),
    }
    for part, (seen, true) in pairs.items():
        if seen != true:
            yield f"{what} the {part} differ: {_difference(seen, true)}"


def _difference(seen: object, true: object) -> str:
    if isinstance(seen, dict) and isinstance(true, dict):
        keys = [key for key in {**seen, **true} if seen.get(key) != true.get(key)]
        return "; ".join(f"{key}: {seen.get(key)}, truly {true.get(key)}" for key in keys[:5])
    return f"{seen}, truly {true}"
