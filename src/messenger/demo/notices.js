/** The notices of a group in words: who did what, as text and names. */

import { counted, nameOf } from "./names.js";
import { RANKS, RANK_WORDS } from "./ranks.js";
import { untilWords } from "./words.js";

export const PERMISSION_WORDS = {
  post: "send messages",
  invite: "invite people",
  link: "make links",
  info: "change name, description and picture",
};

const AS = { member: "a plain member", moderator: "a moderator", admin: "an admin", owner: "the owner" };

/** Words and names alternate, so that a name can be isolated: one from right to left doesn't turn the words around. */
const say = (texts, ...names) => texts.flatMap((text, i) => (i < names.length ? [text, { name: names[i] }] : [text]));

const WORDS = {
  created: ({ actor }) => say`${actor} created the group`,
  renamed: ({ actor, to }) => say`${actor} changed the name to “${to}”`,
  about: ({ actor, to }) => (to ? say`${actor} changed the description` : say`${actor} removed the description`),
  avatar: ({ actor }) => say`${actor} changed the picture`,
  joined: ({ User }) => say`${User} joined`,
  joined_by_link: ({ User }) => say`${User} joined by a link`,
  left: ({ User }) => say`${User} left`,
  removed: ({ actor, user }) => say`${actor} removed ${user}`,
  banned: ({ actor, user, to }) => (
    to ? say`${actor} banned ${user} until ${untilWords(to)}` : say`${actor} banned ${user}`),
  owner: ({ named, is, to }) => say`${named(to)} ${is(to)} the owner now`,
  muted: ({ actor, user, to }) => (
    to ? say`${actor} muted ${user} until ${untilWords(to)}` : say`${actor} ended the mute of ${user}`),
  role: ({ actor, user, from, to }) => {
    if (RANKS.includes(from) && RANKS.includes(to)) return say`${actor} made ${user} ${AS[to]}`;
    return to ? say`${actor} gave ${user} the title “${to}”` : say`${actor} took the title from ${user}`;
  },
  permissions: ({ actor, to }) => {
    const changed = Object.keys(to ?? {}).filter((name) => PERMISSION_WORDS[name]);
    if (changed.length !== 1) return say`${actor} changed the permissions`;
    return say`${actor} changed who may ${PERMISSION_WORDS[changed[0]]}: ${ranksFrom(to[changed[0]])}`;
  },
  settings: ({ actor, to }) => {
    if (to?.slow_mode > 0) return say`${actor} set the slow mode to ${counted(to.slow_mode, "second")}`;
    return to?.slow_mode === 0 ? say`${actor} turned the slow mode off` : say`${actor} changed the settings`;
  },
};

/** `all members`, `moderators and above`. */
function ranksFrom(rank) {
  if (rank === "member") return "all members";
  return rank === "owner" ? "the owner" : `${RANK_WORDS[rank].toLowerCase()}s and above`;
}

/** A notice as parts: strings, and `{ name }`; null for an action of a later server. */
export function noticeParts(store, { actor_id, user_id, action, from, to }) {
  const me = store.me.id;
  const named = (id) => (id === me ? "You" : nameOf(store, id));
  return WORDS[action]?.({
    actor: actor_id === null ? "The server" : named(actor_id),
    User: named(user_id),
    user: user_id === me ? "you" : user_id === actor_id ? "themselves" : nameOf(store, user_id),
    named,
    is: (id) => (id === me ? "are" : "is"),
    from,
    to,
  }) ?? null;
}

/** Why one isn't a member of a group any more. */
export function leftWords({ name }, notice, me) {
  if (notice === null) return `“${name}” was deleted.`;
  if (notice.action === "banned") return `You were banned from “${name}”.`;
  if (notice.action === "left" || notice.actor_id === me) return `You left “${name}”.`;
  return notice.action === "removed" ? `You were removed from “${name}”.` : `You are no member of “${name}” any more.`;
}
