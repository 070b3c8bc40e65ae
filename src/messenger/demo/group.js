/** The page of a group: what it is, one's own part in it, and the sections that one's rank opens. */

import { startBans } from "./bans.js";
import { $, avatar, icon, setText, showAvatar } from "./dom.js";
import { clearErrors } from "./forms.js";
import { startInviting } from "./inviting.js";
import { startLeaving } from "./leaving.js";
import { startLinks } from "./links.js";
import { startMembers } from "./members.js";
import { counted } from "./names.js";
import { isAtLeast, may, RANK_WORDS, seesMembers } from "./ranks.js";
import { startRequests } from "./requests.js";
import { startRules } from "./rules.js";

/** By section: whether one may use it. */
const SECTIONS = {
  members: seesMembers,
  invite: (group) => may(group, "invite"),
  links: (group) => may(group, "link"),
  requests: (group) => isAtLeast(group, "moderator"),
  bans: (group) => isAtLeast(group, "moderator"),
  profile: (group) => may(group, "info"),
  rules: (group) => isAtLeast(group, "admin"),
  leave: () => true,
};

export function startGroup({ api, store }) {
  let id = null;
  const unfolded = new Set();
  const group = () => store.groups.all.get(id) ?? null;
  const context = { api, store, group };
  const parts = {
    members: startMembers(context),
    invite: startInviting(context),
    links: startLinks(context),
    requests: startRequests(context),
    bans: startBans(context),
    ...startRules(context),
    leave: startLeaving(context),
  };
  $("group-avatar").append(avatar({ size: "large" }));
  $("group-close").append(icon("close"));
  for (const name of Object.keys(SECTIONS)) {
    section(name).firstElementChild.addEventListener("click", (event) => {
      event.preventDefault();
      fold(name, !section(name).open);
    });
    // The browser's search unfolds a section by itself.
    section(name).addEventListener("toggle", () => fold(name, section(name).open));
  }
  $("group").addEventListener("close", () => {
    for (const name of unfolded) fold(name, false);
    id = null;
  });
  store.on(["groups", "requests"], show);

  function section(name) {
    return $(`group-${name}`);
  }

  /** What a section shows is loaded when it unfolds; what was written in it is gone when it folds. */
  function fold(name, is) {
    section(name).open = is;
    if (unfolded.has(name) === is || (is && !group())) return;
    if (is) {
      unfolded.add(name);
      parts[name].open();
      section(name).scrollIntoView({ block: "nearest" });
      return;
    }
    unfolded.delete(name);
    for (const form of section(name).querySelectorAll("form")) {
      form.reset();
      clearErrors(form);
    }
  }

  function open(wanted) {
    id = wanted;
    show();
    $("group").showModal();
    if (!section("members").hidden) fold("members", true);
    $("group").scrollTop = 0;
  }

  function show() {
    if (id === null) return;
    if (group() === null) {
      close();
      return;
    }
    const { name, about, member_count, me } = group();
    showAvatar($("group-avatar").firstElementChild, group());
    setText($("group-name"), name);
    const title = me.title ? ` · ${me.title}` : "";
    setText($("group-facts"), `${counted(member_count, "member")} · You: ${RANK_WORDS[me.role]}${title}`);
    setText($("group-about"), about);
    $("group-about").hidden = about === "";
    for (const [each, allows] of Object.entries(SECTIONS)) {
      section(each).hidden = !allows(group());
      if (section(each).hidden) fold(each, false);
    }
    setText($("requests-count"), String(store.groups.requestsOf(id).length || ""));
  }

  /** Left, removed or deleted while its page was open: nothing of it stays on the screen. */
  function close() {
    for (const name of ["confirm", "member", "group"]) $(name).close();
  }

  return { open, onLeft: (left) => left.id === id && close() };
}
