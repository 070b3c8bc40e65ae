/** One's own profile, picture and status; this account's devices; signing out. And what all dialogs have in common. */

import { $, avatar, el, icon, reconcile, setText, showAvatar, toast } from "./dom.js";
import { handle } from "./forms.js";
import { words } from "./refusals.js";
import { since } from "./words.js";

const FIELDS = ["name", "username", "status", "status_text", "about"];

export function startSettings({ api, store, signOut }) {
  let devices = [];
  let preview = null;

  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  $("own-avatar").append(avatar({ size: "large" }));
  $("me").addEventListener("click", open);
  $("avatar-upload").prepend(icon("camera"));
  $("avatar-upload").addEventListener("click", () => $("avatar-file").click());
  $("avatar-file").addEventListener("change", upload);
  $("avatar-remove").addEventListener("click", removeAvatar);
  $("sign-out").addEventListener("click", signOut);
  handle($("profile-form"), save);
  store.on(["me"], () => $("settings").open && showPortrait());
  store.on(["devices"], () => $("settings").open && loadDevices());

  function open() {
    if (!store.me) return;
    for (const field of FIELDS) $("profile-form").elements[field].value = store.me[field];
    showPortrait();
    showDevices();
    $("settings").showModal();
    loadDevices();
  }

  function showPortrait() {
    if (!store.me) return;
    showAvatar($("own-avatar").firstElementChild, preview ? { ...store.me, avatar: { url: preview } } : store.me);
    setText($("own-number"), String(store.me.id));
    $("avatar-remove").hidden = store.me.avatar === null;
  }

  /** Only what was changed here: what another device changed meanwhile stays. */
  async function save(values) {
    const changed = FIELDS.filter((field) => values[field] !== store.me[field]);
    if (changed.length > 0) {
      const patch = Object.fromEntries(changed.map((field) => [field, values[field]]));
      store.takeProfile(await api.put("/profile", patch));
    }
    toast("Saved");
  }

  // --- the picture ---

  async function upload() {
    const [file] = $("avatar-file").files;
    $("avatar-file").value = "";
    if (!file) return;
    setText($("avatar-error"), "");
    preview = URL.createObjectURL(file);
    showPortrait();
    try {
      takeAvatar((await api.upload("/avatar/upload", file)).avatar);
    } catch (error) {
      setText($("avatar-error"), words(error));
    } finally {
      URL.revokeObjectURL(preview);
      preview = null;
      showPortrait();
    }
  }

  async function removeAvatar() {
    setText($("avatar-error"), "");
    try {
      await api.delete("/avatar/");
      takeAvatar(null);
    } catch (error) {
      setText($("avatar-error"), words(error));
    }
  }

  function takeAvatar(picture) {
    store.takeProfile({ ...store.me, avatar: picture });
  }

  // --- devices ---

  async function loadDevices() {
    try {
      devices = await api.all("/devices");
    } catch (error) {
      toast(words(error), "error");
    }
    showDevices();
  }

  function showDevices() {
    reconcile($("devices"), devices, ({ id }) => id, makeDevice, (row, device) => {
      setText(row.querySelector("strong"), device.name);
      setText(row.querySelector("small"), device.current ? "This tab" : `Active ${since(device.last_activity)}`);
    });
  }

  function makeDevice({ id, name, current }) {
    const remove = el("button", { type: "button", class: "quiet small", text: "Sign out", onclick: () => signOutOther(id) });
    remove.setAttribute("aria-label", `Sign out ${name}`);
    return el("li", { class: "device" }, icon("device"), el("div", { class: "who" }, el("strong"), el("small")),
      current ? null : remove);
  }

  async function signOutOther(id) {
    try {
      await api.delete(`/devices/${id}`);
    } catch (error) {
      toast(words(error), "error");
    }
    await loadDevices();
  }
}

/** Ask before something that can't be undone. */
export function confirmed(text, action) {
  const dialog = $("confirm");
  setText($("confirm-text"), text);
  setText($("confirm-yes"), action);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
