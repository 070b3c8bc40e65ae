/**
 * What this device knows: loaded over REST, moved on by events. Every step may be repeated: numbers only grow, a count
 * comes with a version and the higher one holds, of two states of a message the later one stays. Nothing is added up.
 *
 * Listeners are told by topic: `me`, `people`, `contacts`, `conversations`, `statuses`, `typing`, `devices`, `thread`.
 */

import { Expiry } from "./expiry.js";
import { loadAll } from "./loading.js";
import { count, last, lastOf, later } from "./merge.js";

const TYPING_SECONDS = 9; // A little more than the server's eight; its own clock may differ from this one.
const PAGE = 50;

export class Store extends EventTarget {
  #api;
  #session;
  #typing = new Map();
  #topics = new Set();
  #presenceNews = null;
  expiry = new Expiry(() => this.changed("thread", "conversations"));

  constructor(api, session) {
    super();
    this.#api = api;
    this.#session = session;
    this.clear();
  }

  clear() {
    for (const timer of this.#typing.values()) clearTimeout(timer);
    this.#typing.clear();
    this.expiry.clear();
    this.me = null;
    this.people = new Map();
    this.contacts = new Map();
    this.conversations = new Map();
    this.statuses = new Map();
    this.threads = new Map();
    this.marks = new Map();
  }

  // --- loading ---

  /** Set everything except messages, and the cursor up to which it is complete. */
  async load() {
    const device = this.#session.device;
    const { cursor, conversations, contacts, me } = await loadAll(this.#api);
    // Signed out meanwhile: what came is somebody's who isn't here any more.
    if (device !== this.#session.device) return null;
    const open = [...this.threads.keys()];
    this.clear();
    this.me = me;
    this.marks = new Map(this.#session.recall("marks") ?? []);
    for (const each of conversations) this.#onConversation(each);
    for (const each of contacts) this.#onContact({ target_id: each.user.id, ...each });
    this.changed("me", "people", "contacts", "conversations", "statuses", "typing");
    await Promise.all(open.map((peer) => this.openThread(peer)));
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

  /** The latest messages of a conversation; from then on events keep them whole. */
  async openThread(peer) {
    const thread = { peer, loaded: false, older: null, loading: true, messages: new Map() };
    this.threads.set(peer, thread);
    try {
      this.#takePage(thread, await this.#api.get(`/history/${peer}?limit=${PAGE}`));
      thread.loaded = true;
    } finally {
      thread.loading = false;
      this.changed("thread");
    }
    await this.#meet(peer);
  }

  async loadOlder(peer) {
    const thread = this.threads.get(peer);
    if (!thread || thread.loading || thread.older === null) return;
    thread.loading = true;
    try {
      this.#takePage(thread, await this.#api.get(`/history/${peer}?before=${thread.older}&limit=${PAGE}`));
    } finally {
      thread.loading = false;
    }
    this.changed("thread");
  }

  closeThread(peer) {
    this.threads.delete(peer);
  }

  #takePage(thread, page) {
    // Closed, or loaded anew meanwhile.
    if (this.threads.get(thread.peer) !== thread) return;
    thread.older = page.next;
    for (const message of page.items) this.#onMessage(message, thread);
  }

  async #meet(peer) {
    if (this.people.has(peer)) return;
    const person = await this.#api.get(`/users/${peer}`);
    this.people.set(peer, person);
    this.changed("people");
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
      this.#setTyping(data.target_id, data.typing);
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
    this.expiry.watch(message);
    if (thread) {
      thread.messages.set(message.id, later(thread.messages.get(message.id), message));
      this.changed("thread");
    }
    const conversation = this.#conversation(peer);
    conversation.last_message = last(conversation.last_message, message);
    conversation.last_seq = Math.max(conversation.last_seq, message.seq);
    // Who writes has read what came before: the server moves the sender's receipt with the message.
    if (message.sender_id === this.me.id) this.#onOwnMessage(conversation, message.seq);
    else this.#mark(peer, message.seq, message.seq);
    this.changed("conversations");
  }

  #onCreated(message) {
    if (message.sender_id !== this.me.id) this.#setTyping(message.target_id, false);
    this.#onMessage(message);
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
    this.#know(view.target);
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
    if (user) this.#know(user);
    if (state === "none") this.contacts.delete(target_id);
    else this.contacts.set(target_id, { id: target_id, state, alias, message, since });
    if (state !== "mutual") this.statuses.delete(target_id);
    this.changed("contacts", "statuses");
  }

  #onProfile(profile) {
    if (profile.id === this.me.id) {
      this.me = profile;
      this.changed("me");
      return;
    }
    this.#know(profile);
    const status = this.statuses.get(profile.id);
    if (status && profile.status) {
      this.statuses.set(profile.id, { ...status, status: profile.status, status_text: profile.status_text });
      this.changed("statuses");
    }
  }

  #know(user) {
    this.people.set(user.id, { ...this.people.get(user.id), ...user });
    this.changed("people");
  }

  #conversation(peer) {
    let conversation = this.conversations.get(peer);
    if (!conversation) {
      conversation = { peer, last_message: null, last_seq: 0, read_seq: 0, unread: 0, version: -1, pinned: false };
      this.conversations.set(peer, conversation);
      // Someone who is no contact may write, too; who that is has to be asked for.
      if (this.me) this.#meet(peer).catch(() => {});
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

  // --- typing ---

  isTyping(peer) {
    return this.#typing.has(peer);
  }

  #setTyping(peer, typing) {
    const was = this.#typing.get(peer);
    if (was === undefined && !typing) return;
    clearTimeout(was);
    if (typing) this.#typing.set(peer, setTimeout(() => this.#setTyping(peer, false), TYPING_SECONDS * 1000));
    else this.#typing.delete(peer);
    this.changed("typing");
  }

  /** The connection is gone: who types now is not known. */
  forgetTyping() {
    for (const peer of [...this.#typing.keys()]) this.#setTyping(peer, false);
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
