/**
 * What this device knows: loaded over REST, moved on by events. Every step may be repeated: numbers only grow, a count
 * comes with a version and the higher one holds, of two states of a message the later one stays. Nothing is added up.
 *
 * Listeners are told by topic: `me`, `people`, `contacts`, `conversations`, `statuses`, `typing`, `devices`, `thread`,
 * `groups`, `members`, `invitations`, `requests`.
 */

import { Expiry } from "./expiry.js";
import { Groups } from "./groups.js";
import { loadAll } from "./loading.js";
import { count, last, lastOf, later } from "./merge.js";
import { People } from "./people.js";
import { Threads } from "./threads.js";
import { Typing } from "./typing.js";

export class Store extends EventTarget {
  #api;
  #session;
  #topics = new Set();
  #presenceNews = null;
  expiry = new Expiry(() => this.changed("thread", "conversations"));
  typing = new Typing(() => this.changed("typing"));
  /** One isn't a member of a group any more; `notice` is null where it was deleted. */
  onLeft = (group, notice) => {};

  constructor(api, session) {
    super();
    this.#api = api;
    this.#session = session;
    this.people = new People(api, () => this.changed("people"));
    this.groups = new Groups(api, {
      me: () => this.me?.id,
      know: (user) => this.people.know(user),
      onJoined: (group, seq) => this.#onJoined(group, seq),
      onLeft: (group, notice) => this.#onLeft(group, notice),
      onNotice: (id, notice) => this.threads.takeNotice(id, notice),
      changed: (...topics) => this.changed(...topics),
    });
    this.threads = new Threads(api, {
      people: this.people,
      groups: this.groups,
      onMessage: (message, thread) => this.#onMessage(message, thread),
      changed: (...topics) => this.changed(...topics),
    });
    this.clear();
  }

  clear() {
    this.typing.clear();
    this.expiry.clear();
    this.people.clear();
    this.threads.clear();
    this.groups.clear();
    this.me = null;
    this.contacts = new Map();
    this.conversations = new Map();
    this.statuses = new Map();
    this.marks = new Map();
  }

  // --- loading ---

  /** Set everything except messages, and the cursor up to which it is complete. */
  async load() {
    const device = this.#session.device;
    const { cursor, conversations, contacts, invitations, me } = await loadAll(this.#api);
    // Signed out meanwhile: what came is somebody's who isn't here any more.
    if (device !== this.#session.device) return null;
    const open = this.threads.peers;
    const groups = this.groups.all;
    this.clear();
    this.me = me;
    this.people.know(me);
    this.marks = new Map(this.#session.recall("marks") ?? []);
    for (const each of conversations) this.#onConversation(each);
    for (const each of contacts) this.#onContact({ target_id: each.user.id, ...each });
    this.groups.takeInvitations(invitations);
    this.changed("me", "people", "contacts", "conversations", "statuses", "typing", "groups", "requests");
    const left = [...groups.values()].filter(({ id }) => !this.groups.all.has(id));
    for (const group of left) this.onLeft(group, { action: "unknown" });
    const still = open.filter((peer) => !left.some(({ id }) => id === peer));
    await Promise.all(still.map((peer) => this.threads.open(peer)));
    return cursor;
  }

  /** How contacts are, once signals may have been lost; what a signal says meanwhile is newer than the answer. */
  async loadStatuses() {
    const news = (this.#presenceNews = new Set());
    const items = await this.#api.all("/statuses");
    // Requested again meanwhile: the later response is used.
    if (this.#presenceNews !== news) return;
    const fresh = new Map(items.map((status) => [status.user_id, status]));
    for (const id of news) fresh.set(id, this.statuses.get(id));
    this.#presenceNews = null;
    this.statuses = fresh;
    this.changed("statuses");
  }

  // --- events and signals ---

  apply({ event, data }) {
    const handler = this.#handlers[event];
    // Events that are not known here are those of a later server.
    if (handler) handler(data);
  }

  signal({ event, data }) {
    if (event === "presence") {
      this.statuses.set(data.user_id, data);
      this.#presenceNews?.add(data.user_id);
      this.changed("statuses");
    } else if (event === "typing" && data.user_id !== this.me?.id) {
      this.typing.set(data.target_id, data.user_id, data.typing);
    }
  }

  #handlers = {
    "message.created": (data) => this.#onCreated(data),
    "message.edited": (data) => this.#onMessage(data),
    "message.deleted": (data) => this.#onMessage(data),
    "receipt.updated": (data) => this.#onReceipt(data),
    "conversation.updated": (data) => this.#onConversation(data),
    "contact.updated": (data) => this.#onContact(data),
    "profile.updated": (data) => this.#onProfile(data),
    "group.updated": (data) => this.groups.onGroup(data),
    "group.member": (data) => this.groups.onMember(data),
    "group.invited": (data) => this.groups.onInvited(data),
    "group.requested": (data) => this.groups.onRequested(data),
    "device.added": () => this.changed("devices"),
    "device.removed": () => this.changed("devices"),
  };

  /** A message as an event, a reply or a page of history shows it. */
  takeMessage(message) {
    if (this.me) this.#onMessage(message);
  }

  /** One's own profile as the answer to a change shows it. */
  takeProfile(profile) {
    this.#onProfile(profile);
  }

  #onMessage(message, thread = this.threads.get(message.target_id)) {
    const peer = message.target_id;
    // The reply to one's last message in a group may come after the event that one was removed.
    if (this.people.get(peer)?.kind === "group" && !this.groups.all.has(peer)) return;
    this.expiry.watch(message);
    if (thread) {
      thread.messages.set(message.id, later(thread.messages.get(message.id), message));
      this.changed("thread");
    }
    if (message.sender_id === this.me.id) this.groups.onOwnMessage(peer, Date.parse(message.created_at));
    const conversation = this.#conversation(peer);
    conversation.last_message = last(conversation.last_message, message);
    conversation.last_seq = Math.max(conversation.last_seq, message.seq);
    // Who writes has read what came before: the server moves the sender's receipt with the message.
    if (message.sender_id === this.me.id) this.#onOwnMessage(conversation, message.seq);
    else if (!this.groups.all.has(peer)) this.#mark(peer, message.seq, message.seq);
    this.changed("conversations");
  }

  #onCreated(message) {
    this.typing.set(message.target_id, message.sender_id, false);
    this.#onMessage(message);
    if (!this.people.has(message.sender_id)) this.people.meet(message.sender_id).catch(() => {});
  }

  /** A new member has read everything so far. */
  #onJoined({ id }, seq) {
    const conversation = this.#conversation(id);
    conversation.last_seq = Math.max(conversation.last_seq, seq);
    conversation.read_seq = Math.max(conversation.read_seq, seq);
    count(conversation, 0, 2 * seq);
    this.changed("conversations");
  }

  #onLeft(group, notice) {
    this.conversations.delete(group.id);
    this.threads.close(group.id);
    this.changed("conversations", "thread");
    this.onLeft(group, notice);
  }

  #onOwnMessage(conversation, seq) {
    if (seq <= conversation.read_seq) return;
    conversation.read_seq = seq;
    if (seq >= conversation.last_seq) conversation.unread = 0;
  }

  #onReceipt({ target_id, user_id, read_seq, delivered_seq, unread, version }) {
    if (user_id !== this.me.id) this.#mark(target_id, read_seq, delivered_seq);
    else {
      const conversation = this.#conversation(target_id);
      conversation.read_seq = Math.max(conversation.read_seq, read_seq);
      count(conversation, unread, version);
      this.changed("conversations");
    }
  }

  #onConversation(view) {
    if (view.group) this.groups.keep(view.group);
    // Left since.
    else if (view.target.kind === "group") return;
    this.people.know(view.target);
    this.expiry.watch(view.last_message);
    const conversation = this.#conversation(view.target.id);
    const { pinned, archived, muted_until } = view;
    Object.assign(conversation, { pinned, archived, muted_until });
    conversation.last_message = lastOf(conversation, view);
    conversation.last_seq = Math.max(conversation.last_seq, view.last_seq);
    conversation.read_seq = Math.max(conversation.read_seq, view.read_seq);
    count(conversation, view.unread, view.version ?? 0);
    this.changed("conversations");
  }

  #onContact({ target_id, user, state, alias, message, since }) {
    if (user) this.people.know(user);
    if (state === "none") this.contacts.delete(target_id);
    else this.contacts.set(target_id, { id: target_id, state, alias, message, since });
    if (state !== "mutual") this.statuses.delete(target_id);
    this.changed("contacts", "statuses");
  }

  #onProfile(profile) {
    this.people.know(profile);
    if (profile.id === this.me.id) {
      this.me = profile;
      this.changed("me");
      return;
    }
    const status = this.statuses.get(profile.id);
    if (status && profile.status) {
      this.statuses.set(profile.id, { ...status, status: profile.status, status_text: profile.status_text });
      this.changed("statuses");
    }
  }

  #conversation(peer) {
    let conversation = this.conversations.get(peer);
    if (!conversation) {
      conversation = { peer, last_message: null, last_seq: 0, read_seq: 0, unread: 0, version: -1, pinned: false };
      this.conversations.set(peer, conversation);
      // Someone who is no contact may write, too; who that is has to be asked for.
      if (this.me) this.people.meet(peer).catch(() => {});
    }
    return conversation;
  }

  /** How far the other one has read and received. A page of conversations doesn't tell, so this tab remembers it. */
  #mark(peer, read, delivered) {
    const known = this.marks.get(peer) ?? { read: 0, delivered: 0 };
    const marks = { read: Math.max(known.read, read), delivered: Math.max(known.delivered, delivered, read) };
    if (marks.read === known.read && marks.delivered === known.delivered) return;
    this.marks.set(peer, marks);
    this.#session.remember("marks", [...this.marks]);
    this.changed("thread");
  }

  /** The connection is gone: who types now is not known. */
  forgetTyping() {
    this.typing.clear();
    this.changed("typing");
  }

  // --- telling ---

  /** Tell listeners soon: a replay of a hundred events is drawn once. */
  changed(...topics) {
    if (this.#topics.size === 0) setTimeout(() => this.#tell());
    for (const topic of topics) this.#topics.add(topic);
  }

  #tell() {
    const topics = this.#topics;
    this.#topics = new Set();
    this.dispatchEvent(new CustomEvent("change", { detail: topics }));
  }

  /** Call `listener` whenever one of these topics has changed. */
  on(topics, listener) {
    this.addEventListener("change", ({ detail }) => {
      if (topics.some((topic) => detail.has(topic))) listener();
    });
  }
}
