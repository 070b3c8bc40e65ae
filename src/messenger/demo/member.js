/** One member of a group: what is known of them, and what one's rank allows to do: rank, title, mute, removal, ban. */

import { $, avatar, setText, showAvatar, toast } from "./dom.js";
import { BANS, fill, inSeconds, MUTES } from "./durations.js";
import { clearErrors, handle } from "./forms.js";
import { nameOf } from "./names.js";
import { givableRanks, isAtLeast, outranks, RANK_WORDS } from "./ranks.js";
import { words } from "./refusals.js";
import { confirmed } from "./settings.js";
import { dayOf, untilWords } from "./words.js";

/** Returns a function that opens the dialog about a member. */
export function startMember({ api, store, group }) {
  let id = null;
  const member = () => store.groups.members.get(group()?.id)?.get(id);
  const path = () => `/groups/${group().id}/members/${id}`;

  $("member-avatar").append(avatar({ size: "large" }));
  fill($("mute-form").elements.seconds, MUTES);
  const bans = BANS.map(([seconds, text]) => [seconds, seconds ? `Banned for ${text}` : "Banned forever"]);
  fill($("removal-form").elements.seconds, [["no", "May come back"], ...bans]);
  handle($("rank-form"), changeRank);
  handle($("mute-form"), mute);
  handle($("removal-form"), remove);
  $("unmute").addEventListener("click", unmute);
  store.on(["members", "groups", "people"], () => $("member").open && show());

  function open(wanted) {
    id = wanted;
    for (const form of ["rank-form", "mute-form", "removal-form"]) {
      $(form).reset();
      clearErrors($(form));
    }
    show();
    fillRank();
    $("member").showModal();
  }

  function show() {
    if (!group() || !member()) return $("member").close();
    const { user, role, title, joined_at, invited_by, muted_until } = member();
    showAvatar($("member-avatar").firstElementChild, user);
    setText($("member-name"), nameOf(store, id));
    const by = invited_by && store.people.get(invited_by) ? `, invited by ${nameOf(store, invited_by)}` : "";
    const facts = [user.username ? `@${user.username}` : "", RANK_WORDS[role], title ?? ""].filter(Boolean).join(" · ");
    setText($("member-facts"), facts);
    setText($("member-since"), `Joined: ${dayOf(joined_at)}${by}`);
    const mine = id === store.me.id;
    const below = !mine && outranks(group(), member());
    $("rank-form").hidden = givableRanks(group(), member(), store.me.id).length === 0;
    $("title-field").hidden = !below;
    $("mute-form").hidden = !(below && isAtLeast(group(), "moderator"));
    $("removal-form").hidden = $("mute-form").hidden;
    const muted = Date.parse(muted_until ?? 0) > Date.now();
    setText($("mute-state"), muted ? `Muted until ${untilWords(muted_until)}` : "Muted members read, but don’t write.");
    $("unmute").hidden = !muted;
  }

  // --- rank and title ---

  function fillRank() {
    const { role, title } = member();
    const { elements } = $("rank-form");
    fill(elements.role, givableRanks(group(), member(), store.me.id).map((rank) => [rank, RANK_WORDS[rank]]));
    elements.role.value = role;
    elements.title.value = title ?? "";
  }

  async function changeRank({ role, title }) {
    const patch = {};
    if (role !== member().role) patch.role = role;
    if (id !== store.me.id && (title.trim() || null) !== member().title) patch.title = title.trim() || null;
    const name = nameOf(store, id);
    if (Object.keys(patch).length > 0) await change(patch);
    toast(`Saved: ${name}`);
  }

  async function change(patch) {
    const since = group().version;
    const { id: of } = group();
    store.groups.takeMembers(of, [await api.patch(path(), patch)], since);
  }

  // --- mute ---

  async function mute({ seconds }) {
    await change({ muted_until: inSeconds(seconds) });
  }

  async function unmute() {
    try {
      await change({ muted_until: null });
      $("mute-form").querySelector("button[type=submit]").focus();
    } catch (error) {
      toast(words(error), "error");
    }
  }

  // --- removal and ban ---

  async function remove({ seconds, messages, reason }) {
    const name = nameOf(store, id);
    const isBan = seconds !== "no";
    const question = isBan ? `Remove and ban ${name}?` : `Remove ${name} from the group?`;
    if (!(await confirmed(question, isBan ? "Remove and ban" : "Remove"))) return;
    const of = group().id;
    if (isBan) {
      const draft = { until: inSeconds(seconds), reason: reason.trim() || null, messages };
      await api.put(`/groups/${of}/bans/${id}`, draft);
    } else {
      await api.delete(`${path()}?messages=${messages}`);
    }
    toast(isBan ? `${name} was removed and banned` : `${name} was removed`);
  }

  return open;
}
