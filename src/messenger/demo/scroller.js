/** The scroller of a conversation: its end, or what one reads, stays in sight when its size or its content changes. */

import { $ } from "./dom.js";

const NEAR = 120;

/** `onMoved()`: it was scrolled, by a person or by this. */
export function startScroller({ onMoved }) {
  const scroller = $("scroller");
  let atEnd = true;
  let anchor = null; // A message at the lower edge, and how far below that edge it ends.

  scroller.addEventListener("scroll", () => {
    note();
    onMoved();
  });
  // The keyboard of a phone, a banner, a growing composer, a turned phone; messages that come, change and go.
  const observer = new ResizeObserver(keep);
  observer.observe(scroller);
  observer.observe($("messages"));
  // iOS lays its keyboard over the page and changes only what can be seen of it.
  window.visualViewport?.addEventListener("resize", fitAboveKeyboard);

  function note() {
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;
    const row = atEnd ? null : lastInSight();
    anchor = row && { row, below: row.getBoundingClientRect().bottom - lowerEdge() };
  }

  function keep() {
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor?.row.isConnected) {
      scroller.scrollTop += anchor.row.getBoundingClientRect().bottom - lowerEdge() - anchor.below;
    }
    onMoved();
  }

  const lowerEdge = () => scroller.getBoundingClientRect().bottom;

  /** The last row that begins above the lower edge: rows are in order, so half of them can be left out at each step. */
  function lastInSight() {
    const rows = $("messages").children;
    const edge = lowerEdge();
    let [from, to] = [0, rows.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (rows[middle].getBoundingClientRect().top < edge) from = middle + 1;
      else to = middle;
    }
    return rows[from - 1] ?? null;
  }

  function toEnd() {
    atEnd = true;
    keep();
  }

  return { keep, toEnd, isAtEnd: () => atEnd, isAtStart: () => scroller.scrollTop < NEAR };
}

function fitAboveKeyboard() {
  const { height, scale } = window.visualViewport;
  // Zoomed in, less is in sight as well, but the page is not to shrink.
  const covered = scale === 1 && height < window.innerHeight - 1;
  $("app").style.height = covered ? `${height}px` : "";
  if (covered) window.scrollTo(0, 0);
}
