/** The head of the open conversation: who it is with, how they are, who types; a group's members and requests. */

import { $, avatar, el, icon, setText, showAvatar } from "./dom.js";
import { counted, nameOf, typingWords } from "./names.js";
import { presenceOf, presenceWords } from "./words.js";

/** `peer()`: the open conversation; `onAbout(id)`: the group's page is wanted. */
export function startHead({ store, peer, onAbout }) {
  $("peer").append(avatar({ presence: true }), el("div", { class: "who" }, el("strong", { dir: "auto" }), el("small")));
  $("about").append(icon("people"), el("span", { class: "badge" }));
  $("about").addEventListener("click", () => onAbout(peer()));
  store.on(["people", "contacts", "statuses", "typing", "groups", "requests"], show);
  // "Last seen a minute ago" grows old.
  setInterval(show, 30_000);

  function show() {
    if (peer() === null) return;
    const group = store.groups.all.get(peer());
    const person = store.people.get(peer());
    showAvatar($("peer").querySelector(".avatar"), person, presenceOf(store.statuses.get(peer())));
    $("peer").querySelector(".dot").hidden = Boolean(group);
    setText($("peer").querySelector("strong"), nameOf(store, peer()));
    const typing = typingWords(store, peer());
    const state = group ? counted(group.member_count, "member") : stateOf(peer());
    setText($("peer").querySelector("small"), typing || state);
    $("peer").querySelector("small").classList.toggle("typing", typing !== "");
    $("peer").title = person?.username ? `@${person.username} · ${peer()}` : String(peer());
    $("about").hidden = !group;
    if (group) showAbout(store.groups.requestsOf(peer()).length);
  }

  function stateOf(id) {
    return store.contacts.get(id)?.state === "mutual" ? presenceWords(store.statuses.get(id)) : "Not a contact";
  }

  function showAbout(requests) {
    setText($("about").querySelector(".badge"), requests > 0 ? String(requests) : "");
    const label = requests > 0 ? `About the group, ${counted(requests, "request")} to join` : "About the group";
    $("about").setAttribute("aria-label", label);
    $("about").title = label;
  }

  return { show };
}
