/** The open conversation: which one, its head, its messages, how far they are read. */

import { draw, itemsOf } from "./bubbles.js";
import { startComposer } from "./composer.js";
import { $, avatar, dismissToast, el, icon, setText, showAvatar, toast } from "./dom.js";
import { isGone } from "./expiry.js";
import { words } from "./refusals.js";
import { startScroller } from "./scroller.js";
import { confirmed } from "./settings.js";
import { presenceOf, presenceWords } from "./words.js";

const READ_DELAY = 150;

export function startChat({ api, store, realtime, outbox }) {
  let peer = null;
  let newFrom = null;
  let drawn = false;
  let reading = 0;
  let toldRead = 0;
  let receiptsFrom = 0; // Send no receipt before this time (`retry_after`).

  const scroller = startScroller({ onMoved });
  const composer = startComposer({ api, store, realtime, outbox, peer: () => peer, onSent: scroller.toEnd, lastOwn });
  const actions = {
    edit: composer.edit,
    remove,
    retry: (draft) => outbox.retry(draft.client_id),
    discard: (draft) => outbox.discard(draft.client_id),
  };
  $("back").append(icon("back"));
  $("to-end").append(icon("down"));
  $("peer").append(avatar({ presence: true }), el("div", { class: "who" }, el("strong"), el("small")));
  $("to-end").addEventListener("click", scroller.toEnd);
  addEventListener("hashchange", route);
  addEventListener("focus", read);
  document.addEventListener("visibilitychange", read);
  store.on(["me"], route);
  store.on(["thread", "me"], show);
  store.on(["conversations"], read);
  store.on(["people", "contacts", "statuses", "typing"], showHead);
  // "Last seen a minute ago" grows old.
  setInterval(showHead, 30_000);

  // --- which one ---

  function route() {
    const wanted = Number(location.hash.slice(1)) || null;
    if (!store.me || wanted === peer) return;
    dismissToast();
    if (peer !== null) store.closeThread(peer);
    composer.move(peer, wanted);
    peer = wanted;
    drawn = false;
    toldRead = 0;
    $("messages").replaceChildren();
    $("app").classList.toggle("chatting", peer !== null);
    $("open-chat").hidden = peer === null;
    $("no-chat").hidden = peer !== null;
    if (peer !== null) open();
  }

  async function open() {
    const conversation = store.conversations.get(peer);
    newFrom = conversation?.unread > 0 ? conversation.read_seq : null;
    showHead();
    // On a phone the keyboard would cover what one came to read.
    if (matchMedia("(min-width: 720px)").matches) composer.focus();
    await load();
  }

  async function load() {
    try {
      await store.openThread(peer);
    } catch (error) {
      toast(words(error), "error");
    }
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
    const thread = store.threads.get(peer);
    if (!thread?.loaded && !thread?.loading) load();
    read();
  }

  // --- what is shown ---

  function showHead() {
    if (peer === null) return;
    const person = store.people.get(peer);
    const status = store.statuses.get(peer);
    const name = store.contacts.get(peer)?.alias || person?.name || String(peer);
    showAvatar($("peer").querySelector(".avatar"), person, presenceOf(status));
    setText($("peer").querySelector("strong"), name);
    const typing = store.isTyping(peer);
    const contact = store.contacts.get(peer)?.state === "mutual";
    setText($("peer").querySelector("small"), typing ? "typing…" : contact ? presenceWords(status) : "Not a contact");
    $("peer").querySelector("small").classList.toggle("typing", typing);
    $("peer").title = person?.username ? `@${person.username} · ${peer}` : String(peer);
  }

  function sorted() {
    const thread = store.threads.get(peer);
    return thread ? [...thread.messages.values()].sort((a, b) => a.seq - b.seq) : [];
  }

  function show() {
    if (peer === null || !store.me) return;
    const thread = store.threads.get(peer);
    const marks = store.marks.get(peer) ?? { read: 0, delivered: 0 };
    const items = itemsOf({ messages: sorted(), drafts: outbox.of(peer), marks, me: store.me, newFrom });
    draw($("messages"), items, actions);
    $("older").hidden = !thread || thread.older === null;
    if (drawn) scroller.keep();
    else scroller.toEnd();
    if (thread?.loaded) drawn = true;
    onMoved();
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
    if (drawn && scroller.isAtStart()) store.loadOlder(peer).catch((error) => toast(words(error), "error"));
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

  return { close, onConnection };
}
