/** Signing in, and signing up. */

import { $ } from "./dom.js";
import { clearErrors, handle } from "./forms.js";
import { deviceName } from "./words.js";

const FORMS = ["sign-in", "register"];

export function startWelcome(api, onSignedIn) {
  handle($("sign-in"), (values) => enter("/login", { ...values, login: values.login.trim() }));
  handle($("register"), (values) => enter("/register", { ...values, username: values.username.trim() }));
  for (const name of FORMS) $(`tab-${name}`).addEventListener("click", () => choose(name, true));
  document.querySelector("[role=tablist]").addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft" || key === "ArrowRight") choose($("panel-register").hidden ? "register" : "sign-in");
  });

  async function enter(path, draft) {
    const body = { ...draft, device_name: deviceName() };
    onSignedIn(await api.post(path, body, { once: true, anonymous: true }));
    for (const name of FORMS) $(name).reset();
  }
}

export function showWelcome(notice = "") {
  $("welcome").hidden = false;
  $("welcome-notice").textContent = notice;
  $("welcome-notice").hidden = !notice;
  document.title = "Messenger";
  choose("sign-in");
}

function choose(chosen, focus = false) {
  for (const name of FORMS) {
    const is = name === chosen;
    const tab = $(`tab-${name}`);
    tab.setAttribute("aria-selected", String(is));
    tab.tabIndex = is ? 0 : -1;
    if (is && document.activeElement?.getAttribute("role") === "tab") tab.focus();
    $(`panel-${name}`).hidden = !is;
    clearErrors($(name));
  }
  if (focus) $(chosen).elements[0].focus();
}
