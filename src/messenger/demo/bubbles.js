/** The messages of a conversation as elements: days, the line above what is new, bubbles, marks, notices. */

import { el, icon, reconcile, setText } from "./dom.js";
import { makeMenu } from "./menu.js";
import { hasRightToLeft, timeOf } from "./words.js";

const MARKS = {
  waiting: ["clock", "Sending"],
  failed: ["alert", "Not sent"],
  sent: ["check", "Sent"],
  delivered: ["double", "Delivered"],
  read: ["double", "Read"],
};

/**
 * Draw items into the list; `actions`: `entriesOf(message)` for its menu, `retry(draft)`, `discard(draft)`.
 */
export function draw(list, items, actions) {
  const make = (item) => (item.kind === "message" ? makeBubble(item, actions) : makeLine(item));
  reconcile(list, items, ({ key }) => key, make, (row, item) => {
    if (item.kind === "message") updateBubble(row, item, actions);
    else if (item.kind === "notice") showParts(row.firstElementChild, item.parts);
    else setText(row.firstElementChild, item.text);
  });
}

function makeLine({ kind }) {
  return el("li", { class: kind === "notice" ? "line event" : `line ${kind}` }, el("span", { dir: "auto" }));
}

/** Strings, and names, whose direction is their own. */
function showParts(place, parts) {
  if (place.textContent === parts.map((part) => part.name ?? part).join("")) return;
  place.replaceChildren(...parts.map((part) => (part.name === undefined ? part : el("bdi", { text: part.name }))));
}

// --- bubbles ---

const shown = new WeakMap(); // By element, the item that it shows now: what its buttons are about.

function makeBubble(item, actions) {
  const row = el("li", { class: `message ${item.own ? "own" : "other"}` });
  const bubble = el("div", { class: "bubble" },
    el("strong", { class: "sender", dir: "auto", hidden: true }),
    el("p", { class: "body", dir: "auto" }),
    el("span", { class: "meta" }, el("span", { class: "edited" }), el("time"), el("span", { class: "mark" })));
  const menu = makeMenu("Message actions", () => actions.entriesOf(shown.get(row).message));
  if (item.own) row.append(menu, bubble, makeRescue(row, actions));
  else row.append(bubble, menu);
  return row;
}

function updateBubble(row, item, actions) {
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
  showSender(row.querySelector(".sender"), item);
  row.querySelector(".menu-button").hidden = !item.message || actions.entriesOf(item.message).length === 0;
  const rescue = row.querySelector(".rescue");
  if (rescue) {
    rescue.hidden = item.mark !== "failed";
    setText(rescue.querySelector("span"), item.draft?.error ?? "");
  }
}

/** In a group, who wrote it. */
function showSender(place, { name, sender }) {
  place.hidden = name === null;
  setText(place, name ?? "");
  place.style.setProperty("--hue", String((sender * 47) % 360));
}

function showMark(place, mark) {
  const [name, word] = MARKS[mark] ?? [];
  place.dataset.mark = mark ?? "";
  place.title = word ?? "";
  place.replaceChildren(...(name ? [icon(name), el("span", { class: "spoken", text: word })] : []));
}

/** Under a message that the server refused: why, and what now. */
function makeRescue(row, actions) {
  const button = (text, act) => el("button", {
    type: "button", class: "link", text, onclick: () => act(shown.get(row).draft),
  });
  return el("p", { class: "rescue", role: "alert", hidden: true }, el("span"), button("Try again", actions.retry),
    button("Discard", actions.discard));
}
