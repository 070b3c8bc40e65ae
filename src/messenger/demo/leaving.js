/** Leaving a group; as its owner also handing it over, and deleting it. */

import { $, toast } from "./dom.js";
import { fill } from "./durations.js";
import { handle } from "./forms.js";
import { nameOf } from "./names.js";
import { byRank, RANK_WORDS } from "./ranks.js";
import { words } from "./refusals.js";
import { confirmed } from "./settings.js";

export function startLeaving({ api, store, group }) {
  handle($("leave-form"), leave);
  handle($("transfer-form"), transfer);
  handle($("delete-form"), remove);
  store.on(["groups", "members", "people"], show);

  function open() {
    show();
    store.groups.loadNames(group().id).catch((error) => toast(words(error), "error"));
  }

  function show() {
    if (!group() || !$("group-leave").open) return;
    const owner = group().me.role === "owner";
    $("successor-field").hidden = !owner || group().member_count < 2;
    $("transfer-form").hidden = $("successor-field").hidden;
    $("delete-form").hidden = !owner;
    const members = [...(store.groups.members.get(group().id)?.values() ?? [])].sort(byRank);
    const others = members.filter(({ user }) => user.id !== store.me.id).map(({ user, role }) => [
      user.id, role === "member" ? nameOf(store, user.id) : `${nameOf(store, user.id)} (${RANK_WORDS[role]})`,
    ]);
    choose($("leave-form").elements.successor, [["", "The member of the highest rank"], ...others]);
    choose($("transfer-form").elements.user, others);
  }

  async function leave({ successor }) {
    const { id, name, member_count } = group();
    const last = member_count === 1 ? " You are the last member, so it will be deleted." : "";
    if (!(await confirmed(`Leave “${name}”? You will not be able to read it any more.${last}`, "Leave"))) return;
    const draft = !$("successor-field").hidden && successor ? { successor_id: Number(successor) } : {};
    await api.post(`/groups/${id}/leave`, draft);
    store.groups.forget({ id, name }, { action: "left" });
  }

  async function transfer({ user, confirmation }) {
    const draft = { user_id: Number(user), password: confirmation };
    store.groups.keep(await api.post(`/groups/${group().id}/transfer`, draft));
    $("transfer-form").reset();
    toast(`${nameOf(store, Number(user))} is the owner now`);
  }

  async function remove({ confirmation }) {
    const { id, name } = group();
    if (!(await confirmed(`Delete “${name}” for all members? This can’t be undone.`, "Delete"))) return;
    await api.delete(`/groups/${id}`, { password: confirmation });
    store.groups.forget({ id, name }, null);
  }

  return { open };
}

/** Fill a select with other choices, and keep what was chosen. */
function choose(select, choices) {
  const { value } = select;
  fill(select, choices);
  if (choices.some(([each]) => String(each) === value)) select.value = value;
}
