/** Who has read a message of one's own in a group. No event tells it: it is loaded when it is asked for. */

import { $, avatar, el, icon, reconcile, setText, showAvatar } from "./dom.js";
import { words } from "./refusals.js";

export function startReaders({ api }) {
  let message = null;
  let items = [];
  let next = null;
  $("more-readers").addEventListener("click", load);

  function show(wanted) {
    message = wanted;
    items = [];
    next = null;
    setText($("readers-text"), "Loading…");
    draw();
    $("readers-dialog").showModal();
    load();
  }

  async function load() {
    const asked = message;
    const cursor = next ? `?cursor=${encodeURIComponent(next)}` : "";
    try {
      const page = await api.get(`/messages/${asked.id}/receipts${cursor}`);
      if (asked !== message) return;
      items = [...items, ...page.items];
      next = page.next;
      setText($("readers-text"), summary(page));
      draw();
    } catch (error) {
      if (asked === message) setText($("readers-text"), words(error));
    }
  }

  function draw() {
    reconcile($("readers"), items, ({ user }) => user.id, make, update);
    $("more-readers").hidden = next === null;
  }

  function close() {
    $("readers-dialog").close();
  }

  return { show, close };
}

function summary({ members, read, delivered }) {
  if (read === null) return "The server keeps this for seven days after the sending.";
  if (members === 0) return "Nobody here shares with you what they have read.";
  return `Read by ${read} of ${members}, delivered to ${delivered}.`;
}

function make() {
  const who = el("span", { class: "who" }, el("strong", { dir: "auto" }), el("small"));
  return el("li", { class: "person" }, avatar(), who, el("span", { class: "mark" }));
}

function update(row, { user, read, delivered }) {
  showAvatar(row.querySelector(".avatar"), user);
  setText(row.querySelector("strong"), user.name);
  const state = read ? "Has read it" : delivered ? "Has received it" : "Has not received it yet";
  setText(row.querySelector("small"), state);
  const mark = row.querySelector(".mark");
  mark.dataset.mark = read ? "read" : "";
  mark.replaceChildren(icon(read || delivered ? "double" : "check"));
}
