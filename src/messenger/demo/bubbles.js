/** The messages of a conversation as elements: days, the line above what is new, bubbles, marks. */

import { el, icon, iconButton, reconcile, setText } from "./dom.js";
import { isGone } from "./expiry.js";
import { dayKey, dayOf, goneWords, hasRightToLeft, timeOf } from "./words.js";

const JOINED_WITHIN = 5 * 60_000;
const MARKS = {
  waiting: ["clock", "Sending"],
  failed: ["alert", "Not sent"],
  sent: ["check", "Sent"],
  delivered: ["double", "Delivered"],
  read: ["double", "Read"],
};

/** What is to be shown, in order. `newFrom`: the sequence number after which all is new; null where nothing is. */
export function itemsOf({ messages, drafts, marks, me, newFrom }) {
  const items = [];
  let previous = null;
  for (const bubble of [...messages.map((message) => ofMessage(message, me, marks)), ...drafts.map(ofDraft)]) {
    if (!previous || dayKey(previous.at) !== dayKey(bubble.at)) {
      items.push({ kind: "day", key: `day-${dayKey(bubble.at)}`, text: dayOf(bubble.at) });
      previous = null;
    }
    if (newFrom !== null && !bubble.own && bubble.seq > newFrom) {
      items.push({ kind: "new", key: "new", text: "New messages" });
      newFrom = null;
      previous = null;
    }
    const joined = previous?.own === bubble.own && new Date(bubble.at) - new Date(previous.at) < JOINED_WITHIN;
    items.push({ ...bubble, joined: Boolean(joined) });
    previous = bubble;
  }
  return items;
}

function ofMessage(message, me, marks) {
  const own = message.sender_id === me.id;
  const gone = isGone(message);
  const mark = !own || message.deleted_at ? null : marks.read >= message.seq ? "read"
    : marks.delivered >= message.seq ? "delivered" : "sent";
  return {
    kind: "message",
    // A draft and the message that it becomes are one element: nothing jumps.
    key: own ? message.client_id : message.id,
    own,
    mark,
    message,
    seq: message.seq,
    at: message.created_at,
    gone,
    text: gone ? goneWords(message) : message.body,
    edited: message.edited_at !== null && !gone,
  };
}

function ofDraft(draft) {
  return {
    kind: "message",
    key: draft.client_id,
    own: true,
    mark: draft.error ? "failed" : "waiting",
    draft,
    seq: Infinity,
    at: draft.created_at,
    gone: false,
    text: draft.body,
    edited: false,
  };
}

/** Draw items into the list; `actions`: `edit(message)`, `remove(message)`, `retry(draft)`, `discard(draft)`. */
export function draw(list, items, actions) {
  const make = (item) => (item.kind === "message" ? makeBubble(item, actions) : makeLine(item));
  reconcile(list, items, ({ key }) => key, make, (row, item) => {
    if (item.kind === "message") updateBubble(row, item);
    else setText(row.firstElementChild, item.text);
  });
}

function makeLine({ kind }) {
  return el("li", { class: `line ${kind}` }, el("span"));
}

// --- bubbles ---

const shown = new WeakMap(); // By element, the item that it shows now: what its buttons are about.

function makeBubble(item, actions) {
  const row = el("li", { class: `message ${item.own ? "own" : "other"}` });
  const bubble = el("div", { class: "bubble" },
    el("p", { class: "body", dir: "auto" }),
    el("span", { class: "meta" }, el("span", { class: "edited" }), el("time"), el("span", { class: "mark" })));
  row.append(bubble);
  if (item.own) {
    row.prepend(makeMenu(row, actions));
    row.append(makeRescue(row, actions));
  }
  return row;
}

function updateBubble(row, item) {
  const known = shown.get(row);
  shown.set(row, item);
  row.classList.toggle("joined", item.joined);
  row.classList.toggle("gone", item.gone);
  row.classList.toggle("failed", item.mark === "failed");
  row.classList.toggle("two-ways", hasRightToLeft(item.text));
  setText(row.querySelector(".body"), item.text);
  setText(row.querySelector(".edited"), item.edited ? "edited" : "");
  setText(row.querySelector("time"), timeOf(item.at));
  row.querySelector("time").dateTime = item.at;
  if (known?.mark !== item.mark) showMark(row.querySelector(".mark"), item.mark);
  const menu = row.querySelector(".menu-button");
  if (menu) menu.hidden = !item.message || item.gone;
  const rescue = row.querySelector(".rescue");
  if (rescue) {
    rescue.hidden = item.mark !== "failed";
    setText(rescue.querySelector("span"), item.draft?.error ?? "");
  }
}

function showMark(place, mark) {
  const [name, word] = MARKS[mark] ?? [];
  place.dataset.mark = mark ?? "";
  place.title = word ?? "";
  place.replaceChildren(...(name ? [icon(name), el("span", { class: "spoken", text: word })] : []));
}

/** What one may do with a message of one's own. */
function makeMenu(row, actions) {
  const menu = el("div", { class: "menu", role: "menu", hidden: true });
  const opener = iconButton("more", "Message actions", () => toggle(menu.hidden), { "aria-haspopup": "menu" });
  opener.classList.add("menu-button");
  const entry = (name, label, act) => el("button", {
    type: "button",
    role: "menuitem",
    onclick: () => {
      toggle(false);
      act(shown.get(row).message);
    },
  }, icon(name), label);
  menu.append(entry("pencil", "Edit", actions.edit), entry("trash", "Delete", actions.remove));
  const holder = el("div", { class: "menu-holder" }, opener, menu);

  function toggle(open) {
    menu.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) menu.firstElementChild.focus();
  }

  holder.addEventListener("focusout", ({ relatedTarget }) => holder.contains(relatedTarget) || toggle(false));
  holder.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !menu.hidden) {
      toggle(false);
      opener.focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const entries = [...menu.children];
      entries[(entries.indexOf(document.activeElement) + 1) % entries.length].focus();
    }
  });
  return holder;
}

/** Under a message that the server refused: why, and what now. */
function makeRescue(row, actions) {
  const button = (text, act) => el("button", {
    type: "button", class: "link", text, onclick: () => act(shown.get(row).draft),
  });
  return el("p", { class: "rescue", role: "alert", hidden: true }, el("span"), button("Try again", actions.retry),
    button("Discard", actions.discard));
}
