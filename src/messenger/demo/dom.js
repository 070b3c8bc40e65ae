/** Elements. Text goes in as text alone: there is no way here to make markup of a string. */

import { addressOf } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  about: "M12 11v6 M12 7.5v.1 M12 3a9 9 0 1 1 0 18a9 9 0 0 1 0-18",
  alert: "M12 8v5 M12 16.5v.1 M12 3a9 9 0 1 1 0 18a9 9 0 0 1 0-18",
  back: "M15 5l-7 7 7 7",
  camera: "M4 8h3l2-3h6l2 3h3v11H4z M12 10.5a3 3 0 1 1 0 6a3 3 0 0 1 0-6",
  chat: "M4 5h16v11H9l-5 4z",
  check: "M5 12.5l4.5 4.5L19 7",
  clock: "M12 3.5a8.5 8.5 0 1 1 0 17a8.5 8.5 0 0 1 0-17 M12 8v4.5l3 1.8",
  close: "M6 6l12 12 M18 6L6 18",
  device: "M4 5h16v10H4z M9 19h6 M12 15v4",
  double: "M1.5 12.5L6 17 15 7 M11.5 16l1 1 9-10",
  down: "M12 5v14 M6 13l6 6 6-6",
  link: "M10 14a4.5 4.5 0 0 0 6.4 0l3-3A4.5 4.5 0 0 0 13 4.6l-1 1 "
    + "M14 10a4.5 4.5 0 0 0-6.4 0l-3 3a4.5 4.5 0 0 0 6.4 6.4l1-1",
  more: "M6 12v.1 M12 12v.1 M18 12v.1",
  pencil: "M4 20l1-4L16 5l3 3L8 19z M14 7l3 3",
  people: "M9 5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 0 1 0-7 M2.5 19.5c.6-3.6 3.4-5 6.5-5s5.9 1.4 6.5 5 "
    + "M16 5.3a3.3 3.3 0 0 1 0 6.4 M18 14.9c2 .6 3.2 2.2 3.5 4.6",
  person: "M12 4a4 4 0 1 1 0 8a4 4 0 0 1 0-8 M4.5 20c.8-4 4-5.5 7.5-5.5s6.7 1.5 7.5 5.5",
  plus: "M12 5v14 M5 12h14",
  send: "M4 12l16-8-6 17-3-7z M11 14l9-10",
  trash: "M5 7h14 M10 7V4h4v3 M7 7l1 13h8l1-13",
};

/** An element; `props` are attributes, `on…` listeners, `text`, `dataset`, and properties where they are no strings. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export function iconButton(name, label, onclick, props = {}) {
  return el("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...props },
    icon(name));
}

/** By id. */
export const $ = (id) => document.getElementById(id);

/** Write a text where it differs, so that a live region doesn't say it again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Bring a list's children in line with items by key: what stays keeps its element, focus and place. The focus of one
 * that goes moves to its neighbour, or to the list.
 */
export function reconcile(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = new Set(items.map((item) => String(keyOf(item))));
  const isGone = (child) => child && !wanted.has(child.dataset.key);
  const focused = [...known.values()].find((child) => child.contains(document.activeElement));
  let neighbour = focused ?? null;
  while (isGone(neighbour)) neighbour = neighbour.nextElementSibling;
  if (!neighbour) for (neighbour = focused; isGone(neighbour); ) neighbour = neighbour.previousElementSibling;
  for (const [key, child] of known) if (!wanted.has(key)) child.remove();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    if (!child) {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  if (!focused || focused.isConnected) return;
  (neighbour?.querySelector("a, button:not([hidden])") ?? focusable(parent)).focus();
}

function focusable(element) {
  element.tabIndex = -1;
  return element;
}

/** A round picture, or initials on a colour of the person's own. `presence` adds a dot. */
export function avatar({ size = "medium", presence = false } = {}) {
  return el("span", { class: `avatar ${size}`, "aria-hidden": "true" },
    el("span", { class: "initials" }), presence ? el("span", { class: "dot" }) : null);
}

export function showAvatar(element, person, presence = null) {
  const name = person?.name ?? "";
  setText(element.querySelector(".initials"), initials(name));
  element.style.setProperty("--hue", String(((person?.id ?? 0) * 47) % 360));
  const url = person?.avatar ? (element.matches(".large") ? person.avatar.url : person.avatar.thumb_url) : null;
  const image = element.querySelector("img");
  if (image?.getAttribute("src") !== (url ? addressOf(url) : undefined)) {
    image?.remove();
    if (url) element.querySelector(".initials").after(el("img", { src: addressOf(url), alt: "", onerror: (e) => e.target.remove() }));
  }
  const dot = element.querySelector(".dot");
  if (dot) dot.dataset.presence = presence ?? "offline";
}

function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join("");
}

let lastToast = 0;

/** Show a message that disappears by itself, or when another conversation is opened. */
export function toast(text, kind = "info") {
  // What is below an open dialog is out of reach of the eyes and of assistive technology.
  const top = [...document.querySelectorAll("dialog[open]")].pop() ?? document.body;
  const show = () => {
    $("toasts").replaceChildren(el("p", { class: "toast", "data-kind": kind, text }));
    lastToast = setTimeout(dismissToast, 5000);
  };
  dismissToast();
  if ($("toasts").parentElement === top) show();
  else {
    top.append($("toasts"));
    // A live region that has just moved is not read out.
    lastToast = setTimeout(show, 50);
  }
}

export function dismissToast() {
  clearTimeout(lastToast);
  $("toasts").replaceChildren();
}
