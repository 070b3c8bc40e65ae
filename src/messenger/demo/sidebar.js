/** The list: requests, chats with their last message and unread count, contacts without a chat yet. */

import { $, avatar, el, icon, reconcile, setText, showAvatar, toast } from "./dom.js";
import { isGone } from "./expiry.js";
import { handle } from "./forms.js";
import { nameOf, typingWords } from "./names.js";
import { words } from "./refusals.js";
import { goneWords, presenceOf, shortTime, STATUS_WORDS } from "./words.js";

/** Find a user by username or number. */
export function find(api, text) {
  const name = text.trim().replace(/^@/, "");
  return api.get(/^\d+$/.test(name) ? `/users/${name}` : `/users?username=${encodeURIComponent(name)}`);
}

export function startSidebar({ api, store, outbox }) {
  $("me").append(avatar({ presence: true }), el("span", { class: "who" }, el("strong"), el("small")));
  $("add").append(icon("plus"));
  $("add").addEventListener("click", () => $("add-dialog").showModal());
  $("add-dialog").addEventListener("close", () => $("add-form").reset());
  handle($("add-form"), add);
  store.on(["me"], showMe);
  store.on(["people", "contacts"], showRequests);
  store.on(["people", "contacts", "conversations", "statuses", "typing", "thread", "groups"], showChats);
  addEventListener("hashchange", showChats);

  async function add({ who, message }) {
    const person = await find(api, who);
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
    const { all: groups } = store.groups;
    const rows = [...store.conversations.values()].filter(({ peer, last_message }) => (
      last_message || outbox.of(peer).length > 0 || groups.has(peer) || store.contacts.get(peer)?.state === "mutual"));
    for (const { id } of groups.values()) {
      if (!store.conversations.has(id)) rows.push({ peer: id, last_message: null, unread: 0 });
    }
    for (const { id, state, since } of store.contacts.values()) {
      if (state === "mutual" && !store.conversations.has(id)) rows.push({ peer: id, last_message: null, unread: 0, since });
    }
    const joined = (peer) => groups.get(peer)?.me.joined_at;
    const at = ({ peer, last_message, since }) => last_message?.created_at ?? joined(peer) ?? since ?? "";
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
    const isGroup = store.groups.all.has(peer);
    showAvatar(row.querySelector(".avatar"), person, status);
    row.querySelector(".dot").hidden = isGroup;
    setText(row.querySelector("strong"), nameOf(store, peer));
    setText(row.querySelector("small"), preview(peer, last_message, isGroup));
    row.querySelector("small").classList.toggle("typing", store.typing.of(peer).length > 0);
    setText(row.querySelector("time"), last_message ? shortTime(last_message.created_at) : "");
    const link = row.querySelector("a");
    if (String(peer) === open) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    // What is open before one's eyes is being read.
    const seen = String(peer) === open && document.hasFocus();
    setText(row.querySelector(".badge"), unread > 0 && !seen ? String(unread) : "");
    setText(row.querySelector(".status"), isGroup ? "Group" : STATUS_WORDS[status]);
    setText(row.querySelector(".count"), row.querySelector(".badge").textContent && "unread");
  }

  function preview(peer, message, isGroup) {
    const typing = typingWords(store, peer);
    if (typing) return typing;
    const waiting = outbox.of(peer).at(-1);
    if (waiting) return `You: ${waiting.body}`;
    if (!message) return isGroup ? "No messages yet" : "Say hello";
    if (isGone(message)) return goneWords(message);
    if (message.sender_id === store.me.id) return `You: ${message.body}`;
    const isNamed = isGroup && store.people.has(message.sender_id);
    return isNamed ? `${nameOf(store, message.sender_id)}: ${message.body}` : message.body;
  }
}
