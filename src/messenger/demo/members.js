/** The members of a group, by rank: a page at a time, or those whose names begin with what is searched for. */

import { $, avatar, el, reconcile, setText, showAvatar, toast } from "./dom.js";
import { startMember } from "./member.js";
import { nameOf } from "./names.js";
import { byRank, RANK_WORDS } from "./ranks.js";
import { words } from "./refusals.js";
import { untilWords } from "./words.js";

const PAGE = 20;
const SEARCH_DELAY = 200;

export function startMembers({ api, store, group }) {
  const openMember = startMember({ api, store, group });
  let list = nothing();
  let waiting = 0;

  $("member-search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, SEARCH_DELAY);
  });
  $("more-members").addEventListener("click", () => load(list));
  store.on(["members", "groups", "people", "contacts"], show);

  function nothing(query = "") {
    const { loads } = store.groups;
    return { group: group()?.id, loads, query, found: new Set(), last: null, next: null, loaded: false };
  }

  function open() {
    $("member-search").value = "";
    search();
  }

  function search() {
    if (!group()) return;
    list = nothing($("member-search").value.trim());
    load(list);
  }

  async function load(into) {
    try {
      const search = { query: into.query, cursor: into.next, limit: PAGE };
      const { items, next } = await store.groups.loadMembers(into.group, search);
      // Something else is searched for meanwhile.
      if (into !== list) return;
      for (const { user } of items) into.found.add(user.id);
      into.last = items[items.length - 1] ?? into.last;
      into.next = next;
      into.loaded = true;
      show();
    } catch (error) {
      if (into === list && group()) toast(words(error), "error");
    }
  }

  /** Those of the loaded pages as events left them, and newcomers who belong among them. */
  function shown() {
    const members = [...(store.groups.members.get(list.group)?.values() ?? [])].sort(byRank);
    if (list.query) return members.filter(({ user }) => list.found.has(user.id) || begins(user, list.query));
    if (list.next === null) return members;
    return members.filter((member) => list.found.has(member.user.id) || byRank(member, list.last) < 0);
  }

  function show() {
    if (!group() || !$("group-members").open || !list.loaded) return;
    if (list.loads !== store.groups.loads) {
      search();
      return;
    }
    const members = shown();
    reconcile($("members"), members, ({ user }) => user.id, make, update);
    $("more-members").hidden = list.next === null;
    $("no-members").hidden = members.length > 0;
  }

  function make({ user: { id } }) {
    const who = el("span", { class: "who" }, el("strong", { dir: "auto" }), el("small"));
    const onclick = () => openMember(id);
    const chip = el("span", { class: "chip" });
    return el("li", {}, el("button", { type: "button", class: "person", onclick }, avatar(), who, chip));
  }

  function update(row, member) {
    const { user, role, title, muted_until } = member;
    showAvatar(row.querySelector(".avatar"), user);
    const name = nameOf(store, user.id);
    setText(row.querySelector("strong"), user.id === store.me.id ? `${name} (you)` : name);
    const muted = Date.parse(muted_until ?? 0) > Date.now() ? `muted until ${untilWords(muted_until)}` : "";
    const facts = [user.username ? `@${user.username}` : "", title ?? "", muted];
    setText(row.querySelector("small"), facts.filter(Boolean).join(" · "));
    setText(row.querySelector(".chip"), role === "member" ? "" : RANK_WORDS[role]);
  }

  return { open };
}

/** Whether a username, or a word of a name, begins with this: for those whom the server was not asked about. */
function begins({ username, name }, query) {
  const wanted = query.toLowerCase();
  return [username ?? "", ...name.split(/\s+/)].some((word) => word.toLowerCase().startsWith(wanted));
}
