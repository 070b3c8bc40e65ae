/** Joining a group by a link that was pasted, or opened as a page: a preview first, then joining or asking to. */

import { $, avatar, icon, setText, showAvatar, toast } from "./dom.js";
import { clearErrors, handle } from "./forms.js";
import { counted } from "./names.js";

const PREFIX = "#join/";

/** The address of this page with a link: the token stands in the fragment, which no server sees. */
export const addressOfLink = (token) => `${location.origin}${location.pathname}${PREFIX}${token}`;

/** The token of an address, or the text itself. */
const tokenOf = (text) => text.trim().replace(/\/+$/, "").split("/").pop();

export function startJoining({ api, store, session }) {
  let token = null;
  let preview = null;

  $("join").append(icon("link"));
  $("preview-avatar").append(avatar({ size: "large" }));
  $("join").addEventListener("click", () => open());
  $("join-dialog").addEventListener("close", () => {
    $("link-form").reset();
    $("join-form").reset();
    show(null);
  });
  handle($("link-form"), ({ link }) => look(tokenOf(link)));
  handle($("join-form"), act);
  addEventListener("hashchange", fromAddress);
  store.on(["me"], fromAddress);

  function open() {
    show(null);
    clearErrors($("link-form"));
    $("join-dialog").showModal();
  }

  /** A link that was opened as the address of this page; where nobody is signed in, it waits for that. */
  function fromAddress() {
    if (!location.hash.startsWith(PREFIX) || !session.signedIn || !store.me) return;
    const link = location.hash.slice(PREFIX.length);
    history.replaceState(null, "", location.pathname);
    if ($("join-dialog").open) $("join-dialog").close();
    open();
    $("link-form").elements.link.value = link;
    $("link-form").requestSubmit();
  }

  async function look(wanted) {
    show(null);
    const found = await api.get(`/links/${encodeURIComponent(wanted)}`);
    token = wanted;
    show(found);
    $("join-act").focus();
  }

  function show(found) {
    preview = found;
    $("join-form").hidden = found === null;
    if (found === null) return;
    clearErrors($("join-form"));
    showAvatar($("preview-avatar").firstElementChild, found);
    setText($("preview-name"), found.name);
    setText($("preview-facts"), counted(found.member_count, "member"));
    setText($("preview-about"), found.about);
    const asks = found.approval && found.membership !== "member";
    $("preview-message").hidden = !asks || found.membership === "requested";
    setText($("preview-state"), stateWords(found));
    const action = { member: "Open", requested: "Take the request back" }[found.membership];
    setText($("join-act"), action ?? (asks ? "Ask to join" : "Join"));
  }

  async function act({ message }) {
    if (preview.membership === "requested") return takeBack();
    if (preview.membership === "member") return finish(preview.id);
    const draft = preview.approval && message.trim() ? { message: message.trim() } : {};
    const { membership, group } = await api.post(`/links/${encodeURIComponent(token)}/join`, draft);
    if (membership !== "member") return show(group);
    store.groups.keep(group);
    finish(group.id);
  }

  async function takeBack() {
    await api.delete(`/groups/${preview.id}/requests`);
    $("join-dialog").close();
    toast("You don’t ask to join any more.");
  }

  function finish(id) {
    $("join-dialog").close();
    location.hash = String(id);
  }
}

function stateWords({ approval, membership }) {
  if (membership === "requested") return "You have asked to join. Once a moderator accepts, the group is in your list.";
  if (membership === "member") return "You are a member of this group.";
  return approval ? "A moderator has to accept you." : "";
}
