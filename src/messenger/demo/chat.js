/** The open conversation: which one, its head, its messages, how far they are read. */

import { draw } from "./bubbles.js";
import { startComposer } from "./composer.js";
import { $, dismissToast, icon, toast } from "./dom.js";
import { isGone } from "./expiry.js";
import { startHead } from "./head.js";
import { nameOf } from "./names.js";
import { noticeParts } from "./notices.js";
import { isAtLeast, isNoticeShown, outranks } from "./ranks.js";
import { startReaders } from "./readers.js";
import { words } from "./refusals.js";
import { startRestrictions } from "./restrictions.js";
import { startScroller } from "./scroller.js";
import { confirmed } from "./settings.js";
import { itemsOf } from "./transcript.js";
import { startWatching } from "./watch.js";

const READ_DELAY = 150;

/** `onAbout(id)`: the page of a group is wanted. */
export function startChat({ api, store, realtime, outbox, onAbout }) {
  let peer = null;
  let newFrom = null;
  let drawn = false;
  let reading = 0;
  let toldRead = 0;
  let receiptsFrom = 0; // Send no receipt before this time (`retry_after`).

  const scroller = startScroller({ onMoved });
  const composer = startComposer({ api, store, realtime, outbox, peer: () => peer, onSent: scroller.toEnd, lastOwn });
  const head = startHead({ store, peer: () => peer, onAbout });
  const restrictions = startRestrictions({ store, peer: () => peer, onChange: composer.restrict });
  const readers = startReaders({ api });
  const watch = startWatching({ realtime, group: () => (store.groups.all.has(peer) ? peer : null) });
  const actions = {
    entriesOf,
    retry: (draft) => outbox.retry(draft.client_id),
    discard: (draft) => outbox.discard(draft.client_id),
  };
  $("back").append(icon("back"));
  $("to-end").append(icon("down"));
  $("to-end").addEventListener("click", scroller.toEnd);
  addEventListener("hashchange", route);
  addEventListener("focus", read);
  document.addEventListener("visibilitychange", read);
  store.on(["me"], route);
  store.on(["thread", "me", "people", "contacts", "groups", "members"], show);
  store.on(["conversations"], read);

  // --- which one ---

  function route() {
    const wanted = Number(location.hash.slice(1)) || null;
    if (!store.me || wanted === peer) return;
    dismissToast();
    if (peer !== null) store.threads.close(peer);
    readers.close();
    composer.move(peer, wanted);
    peer = wanted;
    drawn = false;
    toldRead = 0;
    $("messages").replaceChildren();
    $("app").classList.toggle("chatting", peer !== null);
    $("open-chat").hidden = peer === null;
    $("no-chat").hidden = peer !== null;
    restrictions.show();
    watch();
    if (peer !== null) open();
  }

  async function open() {
    const conversation = store.conversations.get(peer);
    newFrom = conversation?.unread > 0 ? conversation.read_seq : null;
    head.show();
    if (store.groups.all.has(peer)) loadRequests(peer);
    // On a phone the keyboard would cover what one came to read.
    if (matchMedia("(min-width: 720px)").matches) composer.focus();
    await load();
  }

  async function load() {
    const opened = peer;
    try {
      await store.threads.open(opened);
    } catch (error) {
      if (error.code === "peer_not_found" && opened === peer) leave();
      toast(error.code === "peer_not_found" ? "This chat is not there any more." : words(error), "error");
    }
  }

  /** How many ask to join, for the head. */
  async function loadRequests(id) {
    if (isAtLeast(store.groups.all.get(id), "moderator")) await store.groups.loadRequests(id).catch(() => {});
  }

  /** Go back to the list. */
  function leave() {
    history.replaceState(null, "", location.pathname);
    route();
    $("chats-title").focus();
  }

  /** One is no member of this group any more. */
  function onLeft({ id }) {
    outbox.drop(id);
    if (id === peer) leave();
  }

  function close() {
    peer = null;
    composer.forget();
    composer.move(null, null);
    $("messages").replaceChildren();
    $("app").classList.remove("chatting");
    $("open-chat").hidden = true;
    $("no-chat").hidden = false;
  }

  function onConnection(state) {
    if (state.name !== "live" || peer === null) return;
    toldRead = 0;
    watch();
    if (store.groups.all.has(peer)) loadRequests(peer);
    const thread = store.threads.get(peer);
    if (!thread?.loaded && !thread?.loading) load();
    read();
  }

  // --- what is shown ---

  function sorted() {
    const thread = store.threads.get(peer);
    return thread ? [...thread.messages.values()].sort((a, b) => a.seq - b.seq) : [];
  }

  function show() {
    if (peer === null || !store.me) return;
    const thread = store.threads.get(peer);
    const group = store.groups.all.get(peer);
    const items = itemsOf({
      messages: sorted(),
      notices: group && thread ? noticesOf(thread, group) : [],
      drafts: outbox.of(peer),
      me: store.me,
      marks: group ? null : store.marks.get(peer) ?? { read: 0, delivered: 0 },
      nameOf: (id) => (group ? nameOf(store, id) : null),
      partsOf: (notice) => noticeParts(store, notice),
      newFrom,
    });
    draw($("messages"), items, actions);
    $("older").hidden = !thread || thread.older === null;
    if (drawn) scroller.keep();
    else scroller.toEnd();
    if (thread?.loaded) drawn = true;
    onMoved();
  }

  /** Those that the group shows, without those of pages that aren't loaded yet. */
  function noticesOf({ older, messages, notices }, group) {
    const from = older === null ? 0 : Math.min(...[...messages.values()].map(({ seq }) => seq));
    return [...notices.values()].filter((notice) => notice.after_seq >= from && isNoticeShown(group, notice));
  }

  /** What one may do with a message. */
  function entriesOf(message) {
    if (isGone(message)) return [];
    const group = store.groups.all.get(peer);
    const own = message.sender_id === store.me.id;
    const sender = store.groups.members.get(peer)?.get(message.sender_id);
    const moderates = group && isAtLeast(group, "moderator") && outranks(group, sender);
    return [
      own && ["pencil", "Edit", () => composer.edit(message)],
      own && group && ["people", "Who has read it", () => readers.show(message)],
      (own || moderates) && ["trash", "Delete", () => remove(message)],
    ].filter(Boolean);
  }

  function lastOwn() {
    return sorted().findLast((message) => message.sender_id === store.me.id && !isGone(message)) ?? null;
  }

  async function remove(message) {
    if (!(await confirmed("Delete this message for everyone?", "Delete"))) return;
    try {
      await api.delete(`/messages/${message.id}?for=everyone`);
    } catch (error) {
      toast(words(error), "error");
    }
  }

  function onMoved() {
    $("to-end").hidden = scroller.isAtEnd();
    if (drawn && scroller.isAtStart()) store.threads.loadOlder(peer).catch((error) => toast(words(error), "error"));
    read();
  }

  // --- reading ---

  /** What is at the end of an open conversation, before a person's eyes, is read. */
  function read() {
    if (peer === null || !drawn || !document.hasFocus() || document.visibilityState !== "visible") return;
    if (!scroller.isAtEnd()) return;
    clearTimeout(reading);
    reading = setTimeout(tellRead, Math.max(READ_DELAY, receiptsFrom - Date.now()));
  }

  async function tellRead() {
    const conversation = store.conversations.get(peer);
    if (!conversation || conversation.last_seq <= Math.max(conversation.read_seq, toldRead)) return;
    const seq = (toldRead = conversation.last_seq);
    try {
      await realtime.request("receipt.set", { target_id: peer, read_seq: seq });
    } catch (error) {
      // Receipts are absolute: the next one includes this one, and it is sent again after reconnecting.
      if (toldRead === seq) toldRead = 0;
      if (!(error.retryAfter > 0)) return;
      receiptsFrom = Date.now() + error.retryAfter * 1000;
      read();
    }
  }

  return { close, onConnection, onLeft };
}
