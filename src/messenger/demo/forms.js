/** Forms: one submission at a time, with errors at their fields. */

import { Problem } from "./api.js";
import { el } from "./dom.js";
import { faultWords, words } from "./refusals.js";

/** Codes of refusals that are about one field, and name none. */
const FIELD_OF = {
  cannot_target_self: ["who"],
  invalid_credentials: ["confirmation"],
  link_not_found: ["link"],
  peer_not_found: ["who"],
  username_taken: ["username"],
};

/** Where one confirms with one's own password, there is no username to be wrong. */
const OF_FIELD = { invalid_credentials: "The password is wrong." };

/** Call `submit(values)` with what the form holds; what it throws is shown in the form. */
export function handle(form, submit) {
  makeErrors(form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    clearErrors(form);
    busy(form, true);
    try {
      await submit(Object.fromEntries(new FormData(form)));
    } catch (error) {
      showError(form, error);
      if (!(error instanceof Problem) && error.constructor === TypeError) throw error;
    } finally {
      busy(form, false);
    }
  });
  form.addEventListener("input", ({ target }) => mark(target, ""));
}

/** Show a refusal: at its fields, or above the button where it is about none of them. */
export function showError(form, error) {
  const named = (error.errors ?? []).map((fault) => [fault.field, faultWords(fault)]);
  for (const field of FIELD_OF[error.code] ?? []) named.push([field, OF_FIELD[error.code] ?? words(error)]);
  const placed = named.filter(([field, message]) => mark(form.elements[field], message));
  if (placed.length > 0) form.elements[placed[0][0]].focus();
  else form.querySelector(".form-error").textContent = words(error);
}

export function clearErrors(form) {
  for (const element of form.elements) mark(element, "");
  form.querySelector(".form-error").textContent = "";
}

/** The places of errors: under each field, and above the buttons. */
function makeErrors(form) {
  const make = (tag, kind) => el(tag, { class: kind, role: "alert" });
  for (const field of form.querySelectorAll(".field")) {
    if (!field.querySelector(".field-error")) field.append(make("small", "field-error"));
  }
  const submit = form.querySelector("button[type=submit]");
  (submit.closest(".actions") ?? submit).before(make("p", "form-error"));
}

function mark(element, message) {
  const place = element?.closest?.(".field")?.querySelector(".field-error");
  if (!place) return false;
  place.textContent = message;
  if (message) element.setAttribute("aria-invalid", "true");
  else element.removeAttribute("aria-invalid");
  return true;
}

function busy(form, is) {
  form.setAttribute("aria-busy", String(is));
  for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = is;
}
