/** The rules of ranks and permissions (docs/api/groups.md). The server checks them; the page hides what is refused. */

export const RANKS = ["member", "moderator", "admin", "owner"];
export const RANK_WORDS = { member: "Member", moderator: "Moderator", admin: "Admin", owner: "Owner" };

const height = (rank) => RANKS.indexOf(rank);

/** By descending rank, then by ascending ID, as the server lists members. */
export const byRank = (a, b) => height(b.role) - height(a.role) || a.user.id - b.user.id;

/** Whether one has at least this rank in a group. */
export const isAtLeast = (group, rank) => height(group.me.role) >= height(rank);

/** Whether one has a permission in a group. */
export const may = (group, permission) => isAtLeast(group, group.permissions[permission]);

/** Whether one may act on a member, who then has a lower rank. */
export const outranks = (group, member) => height(group.me.role) > height(member?.role ?? "member");

/** Whether one may list the members of a group. */
export const seesMembers = (group) => group.settings.members_visible === "members" || isAtLeast(group, "moderator");

/** The ranks that one may give to a member: those below one's own; to oneself only lower ones. */
export function givableRanks(group, member, me) {
  if (member.user.id !== me && !(isAtLeast(group, "admin") && outranks(group, member))) return [];
  if (member.user.id === me && group.me.role === "owner") return [];
  const below = RANKS.filter((rank) => height(rank) < height(group.me.role));
  return member.user.id === me ? [...below, group.me.role] : below;
}

/** Whether the setting of a group shows a notice in the history. */
export function isNoticeShown({ settings }, { action }) {
  if (settings.notices === "important") return !["joined", "joined_by_link", "left"].includes(action);
  return settings.notices === "all";
}
