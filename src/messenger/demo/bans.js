/** Who is banned from a group: ban anybody by name, end a ban. */

import { $, avatar, el, reconcile, setText, showAvatar, toast } from "./dom.js";
import { BANS, fill, inSeconds } from "./durations.js";
import { handle } from "./forms.js";
import { words } from "./refusals.js";
import { find } from "./sidebar.js";
import { untilWords } from "./words.js";

export function startBans({ api, store, group }) {
  let bans = [];
  let of = null;
  fill($("ban-form").elements.seconds, BANS);
  handle($("ban-form"), ban);
  // A ban removes a member: what was done from the member's dialog, or by others, is shown here, too.
  store.on(["members"], () => group() && $("group-bans").open && load());

  function open() {
    bans = [];
    show();
    load();
  }

  async function load() {
    of = group().id;
    const asked = of;
    try {
      const items = await api.all(`/groups/${asked}/bans`);
      if (group()?.id !== asked) return;
      bans = items;
      show();
    } catch (error) {
      toast(words(error), "error");
    }
  }

  function show() {
    reconcile($("bans"), bans, ({ user }) => user.id, make, update);
    $("no-bans").hidden = bans.length > 0;
  }

  function make({ user: { id, name } }) {
    const end = el("button", { type: "button", class: "quiet small", text: "Unban", "aria-label": `Unban ${name}` });
    end.addEventListener("click", () => unban(id));
    const who = el("span", { class: "who" }, el("strong", { dir: "auto" }), el("small"));
    return el("li", { class: "person" }, avatar(), who, end);
  }

  function update(row, { user, until, reason }) {
    showAvatar(row.querySelector(".avatar"), user);
    setText(row.querySelector("strong"), user.name);
    const time = until === null ? "Forever" : `Until ${untilWords(until)}`;
    setText(row.querySelector("small"), reason ? `${time} · ${reason}` : time);
  }

  async function ban({ who, seconds, reason }) {
    const person = await find(api, who);
    const draft = { until: inSeconds(seconds), reason: reason.trim() || null };
    await api.put(`/groups/${group().id}/bans/${person.id}`, draft);
    $("ban-form").reset();
    await load();
  }

  async function unban(id) {
    try {
      await api.delete(`/groups/${group().id}/bans/${id}`);
    } catch (error) {
      toast(words(error), "error");
    }
    await load();
  }

  return { open };
}
