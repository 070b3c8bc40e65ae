/** Who asks to join a group: accept, decline. */

import { $, avatar, el, reconcile, setText, showAvatar, toast } from "./dom.js";
import { words } from "./refusals.js";

export function startRequests({ api, store, group }) {
  store.on(["requests"], show);

  function open() {
    show();
    store.groups.loadRequests(group().id).catch((error) => toast(words(error), "error"));
  }

  function show() {
    if (!group() || !$("group-requests").open) return;
    const requests = store.groups.requestsOf(group().id).sort((a, b) => a.at.localeCompare(b.at));
    reconcile($("join-requests"), requests, ({ user }) => user.id, make, update);
    $("no-join-requests").hidden = requests.length > 0;
  }

  function make({ user: { id, name } }) {
    const button = (text, kind, accept) => el("button", {
      type: "button",
      class: `${kind} small`,
      text,
      "aria-label": `${text} ${name}`,
      onclick: ({ currentTarget }) => answer(currentTarget, id, accept),
    });
    const who = el("div", { class: "who" }, el("strong", { dir: "auto" }), el("small"));
    const buttons = [button("Accept", "primary", true), button("Decline", "quiet", false)];
    return el("li", { class: "request" }, avatar(), who, el("div", { class: "buttons" }, ...buttons));
  }

  function update(row, { user, message }) {
    showAvatar(row.querySelector(".avatar"), user);
    setText(row.querySelector("strong"), user.name);
    setText(row.querySelector("small"), message ?? `@${user.username} asks to join`);
  }

  async function answer(button, id, accept) {
    const of = group().id;
    button.disabled = true;
    try {
      await api.post(`/groups/${of}/requests/${id}`, { accept });
      store.groups.dropRequest(of, id);
    } catch (error) {
      if (error.code === "request_not_found") store.groups.dropRequest(of, id);
      toast(words(error), "error");
    } finally {
      button.disabled = false;
    }
  }

  return { open };
}
