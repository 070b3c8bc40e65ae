/**
 * Groups, their members, and invitations. Of two copies of a group the one with the higher version holds, and of two
 * statements about a member the later one: a page of members that was requested before an event doesn't undo it.
 */

import { isAtLeast, seesMembers } from "./ranks.js";

const JOINED = new Set(["created", "joined", "joined_by_link"]);
const LEFT = new Set(["left", "removed", "banned"]);
const PAGE = 200;

export class Groups {
  #api;
  #hooks;
  #requestNews;
  loads = 0; // How often everything was loaded anew.

  /**
   * - `me()`: one's own ID
   * - `know(user)`: a name and a picture
   * - `onJoined(group, seq)`: one is a member now, and has read everything up to `seq`
   * - `onLeft(group, notice)`: one is not a member any more; `notice` is null where the group was deleted
   * - `onNotice(id, notice)`
   * - `changed(...topics)`
   */
  constructor(api, hooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.clear();
  }

  clear() {
    this.loads += 1;
    this.all = new Map();
    this.members = new Map(); // By group, then by user.
    this.versions = new Map(); // The same: the version of the group at the last event about a member.
    this.invitations = new Map();
    this.requests = new Map(); // Requests to join by group, then by user.
    this.#requestNews = new Map(); // What events said while requests are being loaded; null where one has ended.
    this.slow = new Map(); // When one may write again, by the slow mode.
  }

  // --- what the server answers ---

  keep(group) {
    const known = this.all.get(group.id);
    if (known && known.version > group.version) return;
    this.all.set(group.id, group);
    this.#hooks.know({ id: group.id, kind: "group", username: null, name: group.name, avatar: group.avatar });
    if (group.me.slow_until) this.slowDown(group.id, Date.parse(group.me.slow_until));
    this.#hooks.changed("groups");
  }

  takeInvitations(items) {
    this.invitations = new Map(items.map((invitation) => [invitation.group.id, invitation]));
    this.#hooks.changed("invitations");
  }

  /** An invitation was answered here. */
  dropInvitation(id) {
    this.invitations.delete(id);
    this.#hooks.changed("invitations");
  }

  /** A request to join was answered here. */
  dropRequest(id, user) {
    this.#requestNews.get(id)?.set(user, null);
    this.requests.get(id)?.delete(user);
    this.#hooks.changed("requests");
  }

  /** A page of members; `since`: the version of the group before it was requested. */
  takeMembers(id, items, since) {
    const members = this.#of(this.members, id);
    const versions = this.#of(this.versions, id);
    for (const member of items) {
      this.#hooks.know(member.user);
      if ((versions.get(member.user.id) ?? 0) <= since) members.set(member.user.id, member);
    }
    this.#hooks.changed("members");
  }

  /** One may not write before this time. */
  slowDown(id, until) {
    this.slow.set(id, Math.max(until, this.slow.get(id) ?? 0));
    this.#hooks.changed("groups");
  }

  /** One's own message was sent at this time. */
  onOwnMessage(id, at) {
    const group = this.all.get(id);
    if (!group?.settings.slow_mode || isAtLeast(group, "moderator")) return;
    this.slowDown(id, at + group.settings.slow_mode * 1000);
  }

  // --- loading ---

  async loadGroup(id) {
    this.keep(await this.#api.get(`/groups/${id}`));
  }

  /** A page of members, by rank: its items and the next cursor. */
  async loadMembers(id, { query = "", cursor = null, limit = PAGE } = {}) {
    const since = this.all.get(id).version;
    const search = new URLSearchParams({ limit });
    if (query) search.set("query", query);
    if (cursor) search.set("cursor", cursor);
    const page = await this.#api.get(`/groups/${id}/members?${search}`);
    if (this.all.has(id)) this.takeMembers(id, page.items, since);
    return page;
  }

  /** Those of the members who are among the first 200; none where one may not list them. */
  async loadNames(id) {
    const group = this.all.get(id);
    if (group && seesMembers(group)) await this.loadMembers(id);
  }

  async loadRequests(id) {
    const news = new Map();
    this.#requestNews.set(id, news);
    const items = await this.#api.all(`/groups/${id}/requests`);
    // Requested again meanwhile: the later answer is used.
    if (this.#requestNews.get(id) !== news) return;
    this.#requestNews.delete(id);
    // What an event said meanwhile is newer than the answer.
    const requests = new Map(items.map((request) => [request.user.id, request]));
    for (const [user, request] of news) request ? requests.set(user, request) : requests.delete(user);
    this.requests.set(id, requests);
    this.#hooks.changed("requests");
  }

  /** The requests to join that wait for an answer, as far as they are known. */
  requestsOf(id) {
    return [...(this.requests.get(id)?.values() ?? [])];
  }

  // --- events ---

  onGroup({ group, notice }) {
    const aboutMe = notice !== null && (notice.user_id === this.#hooks.me() || notice.action === "created");
    // Events show a group as it is now: it is no preview where one has come back since.
    if (!group.me || (aboutMe && LEFT.has(notice.action))) this.forget(group, notice);
    if (!group.me) return;
    this.keep(group);
    if (notice === null) return;
    if (aboutMe && JOINED.has(notice.action)) this.#hooks.onJoined(group, notice.after_seq);
    if (notice.action === "owner") this.#succeed(group.id, notice);
    this.#hooks.onNotice(group.id, notice);
  }

  onMember({ target_id, member, membership, member_count, version, notice }) {
    this.#hooks.know(member.user);
    const known = this.all.get(target_id);
    if (!known) return;
    const group = version > known.version ? { ...known, member_count, version } : { ...known };
    const { user, role, title, muted_until } = member;
    if (user.id === this.#hooks.me() && membership === "member") group.me = { ...group.me, role, title, muted_until };
    this.all.set(target_id, group);
    // A new moderator gets events about new requests only.
    if (isAtLeast(group, "moderator") && !isAtLeast(known, "moderator")) this.loadRequests(target_id).catch(() => {});
    const members = this.#of(this.members, target_id);
    if (membership === "member") members.set(user.id, member);
    else members.delete(user.id);
    this.#of(this.versions, target_id).set(user.id, version);
    this.#hooks.changed("groups", "members");
    if (notice !== null) this.#hooks.onNotice(target_id, notice);
  }

  onInvited({ group, inviter, message, at }) {
    if (group.membership === "invited" && inviter) this.invitations.set(group.id, { group, inviter, message, at });
    else this.invitations.delete(group.id);
    this.#hooks.changed("invitations");
  }

  onRequested({ target_id, user, message, at, membership }) {
    this.#hooks.know(user);
    const request = membership === "requested" ? { user, message, at } : null;
    this.#requestNews.get(target_id)?.set(user.id, request);
    if (request) this.#of(this.requests, target_id).set(user.id, request);
    else this.requests.get(target_id)?.delete(user.id);
    this.#hooks.changed("requests");
  }

  /** One is not a member any more: the preview that says so has no name. */
  forget({ id }, notice) {
    const was = this.all.get(id);
    const { all, members, versions, requests, slow } = this;
    for (const parts of [all, members, versions, requests, this.#requestNews, slow]) parts.delete(id);
    this.#hooks.changed("groups", "members", "requests");
    if (was) this.#hooks.onLeft({ id, name: was.name }, notice);
  }

  /** The former owner is an admin, or has left; no event reports the two as members. */
  #succeed(id, { from, to }) {
    const members = this.#of(this.members, id);
    for (const [user, role] of [[from, "admin"], [to, "owner"]]) {
      if (members.has(user)) members.set(user, { ...members.get(user), role });
    }
    this.#hooks.changed("members");
  }

  #of(parts, id) {
    if (!parts.has(id)) parts.set(id, new Map());
    return parts.get(id);
  }
}
