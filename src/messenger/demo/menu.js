/** A menu that opens from a button: filled when it opens, moved through with the arrow keys, closed with Escape. */

import { el, icon, iconButton } from "./dom.js";

/** `entriesOf()`: what is in it now, as `[icon, label, act]`. */
export function makeMenu(label, entriesOf) {
  const menu = el("div", { class: "menu", role: "menu", hidden: true });
  const opener = iconButton("more", label, () => toggle(menu.hidden), { "aria-haspopup": "menu" });
  opener.classList.add("menu-button");
  const holder = el("div", { class: "menu-holder" }, opener, menu);

  function makeEntry([name, text, act]) {
    const onclick = () => {
      toggle(false);
      opener.focus();
      act();
    };
    return el("button", { type: "button", role: "menuitem", onclick }, icon(name), text);
  }

  function toggle(open) {
    if (open) menu.replaceChildren(...entriesOf().map(makeEntry));
    menu.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) menu.firstElementChild?.focus();
  }

  holder.addEventListener("focusout", ({ relatedTarget }) => holder.contains(relatedTarget) || toggle(false));
  holder.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !menu.hidden) {
      toggle(false);
      opener.focus();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !menu.hidden) {
      event.preventDefault();
      const entries = [...menu.children];
      const step = event.key === "ArrowDown" ? 1 : entries.length - 1;
      entries[(entries.indexOf(document.activeElement) + step) % entries.length].focus();
    }
  });
  return holder;
}
