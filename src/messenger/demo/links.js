/** The links of a group: make one, copy it, revoke one or all. */

import { $, el, reconcile, setText, toast } from "./dom.js";
import { EXPIRIES, fill, inSeconds } from "./durations.js";
import { handle } from "./forms.js";
import { addressOfLink } from "./joining.js";
import { counted, nameOf } from "./names.js";
import { words } from "./refusals.js";
import { confirmed } from "./settings.js";
import { untilWords } from "./words.js";

export function startLinks({ api, store, group }) {
  let links = [];
  fill($("new-link-form").elements.seconds, EXPIRIES);
  handle($("new-link-form"), create);
  $("revoke-all").addEventListener("click", revokeAll);

  function open() {
    links = [];
    show();
    load();
  }

  async function load() {
    const { id } = group();
    await attempt(async () => {
      const page = await api.get(`/groups/${id}/links`);
      if (group()?.id !== id) return;
      links = page.items;
      show();
    });
  }

  function show() {
    reconcile($("links"), links, ({ id }) => id, make, update);
    $("revoke-all").hidden = links.length < 2;
  }

  function make({ id, token, name }) {
    const label = name ?? "link";
    const address = el("input", { readonly: true, value: addressOfLink(token), "aria-label": `Address of ${label}` });
    const button = (text, kind, onclick) => el("button", {
      type: "button", class: `${kind} small`, text, "aria-label": `${text}: ${label}`, onclick,
    });
    address.addEventListener("focus", () => address.select());
    const who = el("div", { class: "who" }, el("strong", { dir: "auto" }), el("small"));
    const buttons = [button("Copy", "quiet", () => copy(address)), button("Revoke", "danger", () => revoke(id))];
    return el("li", { class: "item" }, who, address, el("div", { class: "buttons" }, ...buttons));
  }

  function update(row, { name, uses, max_uses, expires_at, approval, pending, created_by }) {
    setText(row.querySelector("strong"), name ?? "Link");
    const facts = [
      max_uses === null ? counted(uses, "use") : `${uses} of ${counted(max_uses, "use")}`,
      expires_at === null ? "never expires" : `until ${untilWords(expires_at)}`,
      approval ? "needs approval" : "",
      pending > 0 ? counted(pending, "request") : "",
      created_by === store.me.id ? "" : `by ${nameOf(store, created_by)}`,
    ];
    setText(row.querySelector("small"), facts.filter(Boolean).join(" · "));
  }

  async function create({ name, seconds, max_uses, approval }) {
    const draft = { name: name.trim() || null, expires_at: inSeconds(seconds), approval: approval === "on" };
    // What is no number is sent as it is: the server says so.
    if (max_uses.trim()) draft.max_uses = /^\d+$/.test(max_uses.trim()) ? Number(max_uses) : max_uses;
    await api.post(`/groups/${group().id}/links`, draft, { once: true });
    $("new-link-form").reset();
    await load();
  }

  async function copy(address) {
    try {
      await navigator.clipboard.writeText(address.value);
    } catch {
      // Over HTTP, other than from this computer, there is no clipboard to write to.
      address.select();
      document.execCommand("copy");
    }
    toast("Copied");
  }

  async function revoke(id) {
    await attempt(() => api.delete(`/groups/${group().id}/links/${id}`));
    await load();
  }

  async function revokeAll() {
    if (!(await confirmed("Revoke all links of this group?", "Revoke all"))) return;
    await attempt(() => api.delete(`/groups/${group().id}/links`));
    await load();
  }

  return { open };
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    toast(words(error), "error");
  }
}
