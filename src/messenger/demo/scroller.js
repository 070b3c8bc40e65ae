/** The scroller of a conversation: keeps its end, or the visible messages, in place when size or content changes. */

import { $ } from "./dom.js";

const NEAR = 120;

/** `onMoved()`: called after scrolling, by the user or by this module. */
export function startScroller({ onMoved }) {
  const scroller = $("scroller");
  let atEnd = true;
  let anchor = null; // A message at the lower edge, and how far it extends below that edge.
  let size = sizeOf(scroller);

  scroller.addEventListener("scroll", () => {
    note();
    onMoved();
  });
  // A phone's keyboard or rotation, a banner, a growing composer; messages that are added, changed and removed.
  const observer = new ResizeObserver(keep);
  observer.observe(scroller);
  observer.observe($("messages"));
  // On iOS the keyboard covers the page and only changes the visual viewport.
  window.visualViewport?.addEventListener("resize", fitAboveKeyboard);

  function note() {
    // The size has just changed, and a scroll event comes before that of the observer: `keep` needs the former anchor.
    if (sizeOf(scroller) !== size) return;
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR;
    const row = atEnd ? null : lastInSight();
    anchor = row && { row, below: row.getBoundingClientRect().bottom - lowerEdge() };
  }

  function keep() {
    size = sizeOf(scroller);
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor?.row.isConnected) {
      scroller.scrollTop += anchor.row.getBoundingClientRect().bottom - lowerEdge() - anchor.below;
    }
    onMoved();
  }

  const lowerEdge = () => scroller.getBoundingClientRect().bottom;

  /** The last row that begins above the lower edge, by binary search. */
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

const sizeOf = (element) => `${element.clientWidth}x${element.clientHeight}`;

function fitAboveKeyboard() {
  const { height, scale } = window.visualViewport;
  // Zooming also reduces the visual viewport, but the page must not shrink.
  const covered = scale === 1 && height < window.innerHeight - 1;
  $("app").style.height = covered ? `${height}px` : "";
  if (covered) window.scrollTo(0, 0);
}
