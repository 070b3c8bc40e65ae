/** Choosing among one's contacts: a list of names with boxes to check. */

import { avatar, el, reconcile, setText, showAvatar } from "./dom.js";
import { nameOf } from "./names.js";

/** Fill `list`. `leaveOut(id)`: who is not offered. */
export function startPicker({ store, list, empty, leaveOut = () => false }) {
  store.on(["contacts", "people", "members"], show);

  function show() {
    if (!list.closest("dialog").open) return;
    const offered = [...store.contacts.values()].filter(({ id, state }) => state === "mutual" && !leaveOut(id));
    offered.sort((a, b) => nameOf(store, a.id).localeCompare(nameOf(store, b.id)));
    reconcile(list, offered, ({ id }) => id, make, update);
    empty.hidden = offered.length > 0;
  }

  function make({ id }) {
    return el("li", {}, el("label", { class: "choice" }, el("input", { type: "checkbox", value: String(id) }), avatar(),
      el("span", { class: "who" }, el("strong", { dir: "auto" }), el("small"))));
  }

  function update(row, { id }) {
    const person = store.people.get(id);
    showAvatar(row.querySelector(".avatar"), person);
    setText(row.querySelector("strong"), nameOf(store, id));
    setText(row.querySelector("small"), person?.username ? `@${person.username}` : "");
  }

  const boxes = () => [...list.querySelectorAll("input")];

  return { show, chosen: () => boxes().filter(({ checked }) => checked).map(({ value }) => Number(value)) };
}

const OUTCOMES = {
  invited: "invited",
  joined: "a member now",
  already_member: "a member already",
  banned: "banned from this group",
  not_a_contact: "takes invitations from contacts only",
  peer_not_found: "not there any more",
  group_full: "the group is full",
  rate_limited: "has received too many invitations",
};

/** What became of invitations, in words; each on its own. */
export function outcomeWords(store, results) {
  return results.map(({ user_id, outcome }) => `${nameOf(store, user_id)}: ${OUTCOMES[outcome] ?? outcome}`).join("\n");
}
