/** Writing: sending, editing, and telling that one types. */

import { $, icon, iconButton, toast } from "./dom.js";
import { isGone } from "./expiry.js";
import { words } from "./refusals.js";

const TELL_TYPING_EVERY = 3_100; // The server passes on one every 3 s, and forgets after 8 s.

/** `peer()`: whom one writes to; `onSent()`: one's own message was added; `lastOwn()`: the message to edit with ↑. */
export function startComposer({ api, store, realtime, outbox, peer, onSent, lastOwn }) {
  const text = $("text");
  const unsent = new Map();
  let edited = null;
  let restriction = null;
  const typing = { told: false, at: 0, timer: 0 };

  $("send").append(icon("send"));
  $("editing").append(iconButton("close", "Don’t edit", stopEditing));
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  text.addEventListener("input", onInput);
  text.addEventListener("keydown", onKey);
  store.on(["thread"], stopEditingWhatIsGone);

  function onInput() {
    fit();
    if (edited) return;
    if (text.value.trim() === "") stopTyping();
    else keepTyping();
  }

  function onKey(event) {
    // While an input method composes a word, Enter chooses it.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && edited) {
      stopEditing();
    } else if (event.key === "ArrowUp" && text.value === "" && lastOwn()) {
      event.preventDefault();
      edit(lastOwn());
    }
  }

  function submit() {
    const body = text.value.trim();
    if (body === "" || (restriction && !edited)) return;
    if (edited) saveEdit(edited, body);
    else {
      outbox.send(peer(), body);
      put("");
      // The message itself says that the typing is over.
      typing.told = false;
      clearTimeout(typing.timer);
      onSent();
    }
  }

  async function saveEdit(message, body) {
    stopEditing();
    if (body === message.body) return;
    try {
      store.takeMessage(await api.patch(`/messages/${message.id}`, { body }));
    } catch (error) {
      toast(words(error), "error");
    }
  }

  function edit(message) {
    if (!edited) unsent.set(peer(), text.value);
    stopTyping();
    edited = message;
    $("editing").hidden = false;
    put(message.body);
    text.focus();
    text.setSelectionRange(text.value.length, text.value.length);
  }

  /** Deleted and expired messages cannot be edited, and their text must not stay in the composer. */
  function stopEditingWhatIsGone() {
    const message = edited && store.threads.get(peer())?.messages.get(edited.id);
    if (message && isGone(message)) stopEditing();
  }

  function stopEditing() {
    edited = null;
    $("editing").hidden = true;
    put(unsent.get(peer()) ?? "");
    text.focus();
  }

  /** Another conversation: keep what is written in the one left. */
  function move(from, to) {
    if (from !== null && !edited) unsent.set(from, text.value);
    if (from !== null) stopTyping(from);
    edited = null;
    $("editing").hidden = true;
    put(unsent.get(to) ?? "");
  }

  // --- typing ---

  /** Tell at the next moment at which it is passed on; sooner would be for nothing, and the moment would be missed. */
  function keepTyping() {
    clearTimeout(typing.timer);
    typing.timer = setTimeout(() => {
      typing.told = true;
      typing.at = Date.now();
      tellTyping(true, peer());
    }, Math.max(0, typing.at + TELL_TYPING_EVERY - Date.now()));
  }

  function stopTyping(target = peer()) {
    clearTimeout(typing.timer);
    if (typing.told) tellTyping(false, target);
    typing.told = false;
  }

  function tellTyping(is, target) {
    // Fleeting: where the connection is away, or the other one doesn't take messages, nobody misses it.
    realtime.request("typing", { target_id: target, typing: is }).catch(({ retryAfter }) => {
      if (!(retryAfter > 0)) return;
      typing.told = false;
      typing.at = Date.now() + retryAfter * 1000 - TELL_TYPING_EVERY;
    });
  }

  function put(value) {
    text.value = value;
    fit();
  }

  function fit() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, 160)}px`;
    allow();
  }

  // --- a group that doesn't take messages now ---

  /** What keeps one from writing here, or null; what is written already stays. */
  function restrict(now) {
    restriction = now;
    if (restriction?.final) {
      if (edited) stopEditing();
      stopTyping();
    }
    text.disabled = Boolean(restriction?.final);
    allow();
  }

  function allow() {
    $("send").disabled = text.value.trim() === "" || (restriction !== null && !edited);
  }

  return { edit, move, restrict, forget: () => unsent.clear(), focus: () => text.focus() };
}
