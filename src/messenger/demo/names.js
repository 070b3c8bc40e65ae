/** Names as this user knows them, and lists of names in words. */

const list = new Intl.ListFormat("en", { type: "conjunction" });
const NAMED = 2;

/** The name of a user or a group: one's own alias for a contact, else the name, else the ID. */
export function nameOf(store, id) {
  return store.contacts.get(id)?.alias || store.people.get(id)?.name || String(id);
}

/** Who types in a conversation, in words; empty where nobody does. */
export function typingWords(store, peer) {
  const users = store.typing.of(peer);
  if (users.length === 0) return "";
  if (!store.groups.all.has(peer)) return "typing…";
  if (users.length > NAMED) return `${users.length} people are typing…`;
  return `${list.format(users.map((user) => nameOf(store, user)))} ${users.length === 1 ? "is" : "are"} typing…`;
}

/** `1 member`, `12 members`. */
export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
