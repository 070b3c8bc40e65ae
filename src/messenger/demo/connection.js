/** How the connection is: a dot below the list, and a banner while it is away. */

import { $, setText } from "./dom.js";

const ENDED = {
  elsewhere: ["This session goes on in another tab.", "Use it here"],
  refused: ["The server couldn’t make sense of what this page sent.", "Try again"],
  stopped: ["Not connected.", "Connect"],
};
const BANNER_AFTER = 1_000; // A wink of a second is no news.

let ticking = 0;
let patience = 0;

export function showConnection(state, realtime) {
  clearInterval(ticking);
  $("connection").dataset.state = state.name;
  const show = () => setText($("connection-text"), words(state));
  show();
  if (state.name === "waiting") ticking = setInterval(() => (show(), showBanner(state)), 250);
  if (state.name === "live") {
    clearTimeout(patience);
    patience = 0;
    $("banner").hidden = true;
  } else if (state.name === "ended") {
    unveil(state);
  } else if ($("banner").hidden) {
    patience ||= setTimeout(() => unveil(realtime.state), BANNER_AFTER);
  } else {
    showBanner(state);
  }
  $("banner-action").onclick = () => (state.name === "ended" ? realtime.start() : realtime.nudge());
}

function unveil(state) {
  patience = 0;
  if (state.name === "live") return;
  $("banner").hidden = false;
  showBanner(state);
}

function showBanner(state) {
  const [text, action] = state.name === "ended" ? (ENDED[state.reason] ?? ENDED.stopped) : [words(state), "Try now"];
  setText($("banner-text"), text);
  setText($("banner-action"), action);
  $("banner-action").hidden = state.name === "connecting" || state.told === true;
}

function words(state) {
  if (state.name === "waiting") {
    const seconds = Math.max(0, Math.ceil((state.until - Date.now()) / 1000));
    return seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
  }
  return { connecting: "Connecting…", live: "Live", ended: "Not connected" }[state.name];
}
