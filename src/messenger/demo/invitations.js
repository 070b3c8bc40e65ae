/** The list of invitations to groups: accept, decline. */

import { $, avatar, el, reconcile, setText, showAvatar, toast } from "./dom.js";
import { counted } from "./names.js";
import { words } from "./refusals.js";

export function startInvitations({ api, store }) {
  store.on(["invitations"], show);

  function show() {
    const invitations = [...store.groups.invitations.values()].sort((a, b) => b.at.localeCompare(a.at));
    $("invitations-section").hidden = invitations.length === 0;
    reconcile($("invitations"), invitations, ({ group }) => group.id, make, update);
  }

  function make({ group: { id } }) {
    const button = (text, kind, answer) => el("button", {
      type: "button",
      class: kind,
      text,
      onclick: ({ currentTarget }) => act(currentTarget, id, answer),
    });
    const who = el("div", { class: "who" }, el("strong", { dir: "auto" }), el("small"));
    const buttons = [button("Accept", "primary small", accept), button("Decline", "quiet small", decline)];
    return el("li", { class: "request" }, avatar(), who, el("div", { class: "buttons" }, ...buttons));
  }

  function update(row, { group, inviter, message }) {
    showAvatar(row.querySelector(".avatar"), group);
    setText(row.querySelector("strong"), group.name);
    const invitation = `${inviter.name} invites you to this group of ${counted(group.member_count, "member")}.`;
    setText(row.querySelector("small"), message ? `${invitation} “${message}”` : invitation);
    for (const button of row.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent}: ${group.name}`);
    }
  }

  async function act(button, id, answer) {
    button.disabled = true;
    try {
      await answer(id);
      store.groups.dropInvitation(id);
    } catch (error) {
      if (error.code === "invitation_not_found") store.groups.dropInvitation(id);
      toast(words(error), "error");
    } finally {
      button.disabled = false;
    }
  }

  async function accept(id) {
    store.groups.keep(await api.post(`/groups/${id}/join`));
    location.hash = String(id);
  }

  async function decline(id) {
    await api.post(`/groups/${id}/decline`, {});
  }
}
