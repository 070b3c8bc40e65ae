/** Tells the server which group is on the screen: typing in a group is only signalled to devices that watch it. */

const EVERY = 45_000; // A watch lasts for 60 s.

/** `group()`: the ID of the open group, or null. Call the returned function when that changes, or the connection. */
export function startWatching({ realtime, group }) {
  let timer = 0;
  let watched = null;
  document.addEventListener("visibilitychange", update);

  function update() {
    clearTimeout(timer);
    const wanted = document.visibilityState === "visible" ? group() : null;
    if (wanted === null && watched === null) return;
    if (!realtime.ready) {
      watched = null;
      return;
    }
    watched = wanted;
    // Fleeting: where it is lost, typing is not seen for a while.
    realtime.request("watch", { target_ids: wanted === null ? [] : [wanted] }).catch(() => {});
    if (wanted !== null) timer = setTimeout(update, EVERY);
  }

  return update;
}
