/** Load the state of a device, from which its stream continues. */

const PAGE = "/conversations?limit=200";

/** Everything except messages, and a cursor up to which it is complete; it may include later events. */
export async function loadAll(api) {
  // The cursor is read first: everything else is newer, so no change is missed.
  const first = await api.get(PAGE);
  const conversations = await restOf(api, first);
  const contacts = await api.all("/contacts");
  const invitations = await api.all("/invitations");
  const me = await api.get("/profile");
  return { cursor: first.cursor, conversations, contacts, invitations, me };
}

/**
 * All conversations. A conversation that gets a message while pages are read moves to the top, which was already read.
 * So the top is read again, down to a conversation that has not moved, and once more if that took more than one page.
 */
async function restOf(api, first) {
  const found = new Map();
  const isKnown = (view) => found.get(view.target.id)?.last_seq === view.last_seq;
  const keep = ({ items }) => items.forEach((view) => found.set(view.target.id, view));
  const read = (cursor) => api.get(cursor === null ? PAGE : `${PAGE}&cursor=${encodeURIComponent(cursor)}`);

  let page = first;
  let pages = 1;
  for (keep(page); page.next !== null; pages++) keep((page = await read(page.next)));
  while (pages > 1) {
    pages = 0;
    let reached;
    do {
      page = await read(pages === 0 ? null : page.next);
      pages++;
      reached = page.items.some(isKnown);
      keep(page);
    } while (!reached && page.next !== null);
  }
  return [...found.values()];
}
