/** The list: requests, chats with their last message and unread count, contacts without a chat yet. */

import { $, avatar, el, icon, reconcile, setText, showAvatar, toast } from "./dom.js";
import { isGone } from "./expiry.js";
import { handle } from "./forms.js";
import { words } from "./refusals.js";
import { goneWords, presenceOf, shortTime, STATUS_WORDS } from "./words.js";

export function startSidebar({ api, store, outbox }) {
  $("me").append(avatar({ presence: true }), el("span", { class: "who" }, el("strong"), el("small")));
  $("add").append(icon("plus"));
  $("add").addEventListener("click", () => $("add-dialog").showModal());
  $("add-dialog").addEventListener("close", () => $("add-form").reset());
  handle($("add-form"), add);
  store.on(["me"], showMe);
  store.on(["people", "contacts"], showRequests);
  store.on(["people", "contacts", "conversations", "statuses", "typing", "thread"], showChats);
  addEventListener("hashchange", showChats);

  async function add({ who, message }) {
    const name = who.trim().replace(/^@/, "");
    const path = /^\d+$/.test(name) ? `/users/${name}` : `/users?username=${encodeURIComponent(name)}`;
    const person = await api.get(path);
    const draft = { target_id: person.id, message: message.trim() || null };
    const { state } = await api.post("/subscribe", draft, { once: true });
    $("add-dialog").close();
    toast(state === "mutual" ? `${person.name} is a contact` : `Request sent to ${person.name}`);
  }

  function showMe() {
    if (!store.me) return;
    const { name, status, status_text } = store.me;
    showAvatar($("me").querySelector(".avatar"), store.me, status === "invisible" ? "offline" : status);
    setText($("me").querySelector("strong"), name);
    setText($("me").querySelector("small"), status_text || STATUS_WORDS[status]);
  }

  // --- requests ---

  function showRequests() {
    const asked = [...store.contacts.values()].filter(({ state }) => state === "pending_in" || state === "pending_out");
    asked.sort((a, b) => b.since.localeCompare(a.since));
    $("requests-section").hidden = asked.length === 0;
    reconcile($("requests"), asked, ({ id, state }) => `${state}-${id}`, makeRequest, updateRequest);
  }

  function makeRequest({ id, state }) {
    const answer = (path, body) => async ({ currentTarget }) => {
      currentTarget.disabled = true;
      try {
        await api.post(path, { target_id: id, ...body }, { once: true });
      } catch (error) {
        currentTarget.disabled = false;
        toast(words(error), "error");
      }
    };
    const button = (text, kind, onclick) => el("button", { type: "button", class: kind, text, onclick });
    const buttons = state === "pending_in"
      ? [button("Accept", "primary small", answer("/confirm_subscribe", { accept: true })),
        button("Decline", "quiet small", answer("/confirm_subscribe", { accept: false }))]
      : [button("Cancel", "quiet small", answer("/unsubscribe", {}))];
    return el("li", { class: "request" }, avatar(), el("div", { class: "who" }, el("strong"), el("small")),
      el("div", { class: "buttons" }, ...buttons));
  }

  function updateRequest(row, { id, state, message }) {
    const person = store.people.get(id);
    showAvatar(row.querySelector(".avatar"), person);
    setText(row.querySelector("strong"), person?.name ?? String(id));
    const word = state === "pending_in" ? message || `@${person?.username} wants to chat` : "Waiting for an answer";
    setText(row.querySelector("small"), word);
  }

  // --- chats ---

  function showChats() {
    const rows = chats();
    const open = location.hash.slice(1);
    reconcile($("conversations"), rows, ({ peer }) => peer, makeChat, (row, chat) => updateChat(row, chat, open));
    $("nobody").hidden = rows.length > 0 || store.contacts.size > 0 || !store.me;
    const unread = rows.reduce((sum, chat) => sum + (chat.unread > 0 ? 1 : 0), 0);
    if (store.me) document.title = unread > 0 ? `(${unread}) Messenger` : "Messenger";
  }

  /** Conversations, latest first, and below them contacts to whom nobody has written yet. */
  function chats() {
    const rows = [...store.conversations.values()].filter(
      ({ peer, last_message }) => last_message || outbox.of(peer).length > 0 || store.contacts.get(peer)?.state === "mutual",
    );
    for (const { id, state, since } of store.contacts.values()) {
      if (state === "mutual" && !store.conversations.has(id)) rows.push({ peer: id, last_message: null, unread: 0, since });
    }
    const at = ({ last_message, since }) => last_message?.created_at ?? since ?? "";
    return rows.sort((a, b) => Number(b.pinned ?? 0) - Number(a.pinned ?? 0) || at(b).localeCompare(at(a)));
  }

  function makeChat({ peer }) {
    return el("li", {}, el("a", { class: "chat-row", href: `#${peer}` },
      avatar({ presence: true }),
      el("span", { class: "who" }, el("strong"), el("span", { class: "spoken status" }), el("small")),
      el("span", { class: "aside" }, el("time"), el("span", { class: "badge" }), el("span", { class: "spoken count" }))));
  }

  function updateChat(row, { peer, last_message, unread }, open) {
    const person = store.people.get(peer);
    const status = presenceOf(store.statuses.get(peer));
    const name = store.contacts.get(peer)?.alias || person?.name || String(peer);
    showAvatar(row.querySelector(".avatar"), person, status);
    setText(row.querySelector("strong"), name);
    setText(row.querySelector("small"), preview(peer, last_message));
    row.querySelector("small").classList.toggle("typing", store.isTyping(peer));
    setText(row.querySelector("time"), last_message ? shortTime(last_message.created_at) : "");
    const link = row.querySelector("a");
    if (String(peer) === open) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    // What is open before one's eyes is being read.
    const seen = String(peer) === open && document.hasFocus();
    setText(row.querySelector(".badge"), unread > 0 && !seen ? String(unread) : "");
    setText(row.querySelector(".status"), STATUS_WORDS[status]);
    setText(row.querySelector(".count"), row.querySelector(".badge").textContent && "unread");
  }

  function preview(peer, message) {
    if (store.isTyping(peer)) return "typing…";
    const waiting = outbox.of(peer).at(-1);
    if (waiting) return `You: ${waiting.body}`;
    if (!message) return "Say hello";
    if (isGone(message)) return goneWords(message);
    return message.sender_id === store.me.id ? `You: ${message.body}` : message.body;
  }
}
