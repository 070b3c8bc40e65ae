/** Messages for users about failed requests; the server's own messages are for client developers. */

import { NetworkError, Problem } from "./api.js";
import { untilWords } from "./words.js";

const BUSY = "The server can’t do this now. Please try again.";

const REFUSALS = {
  cannot_target_self: "This is you. Enter somebody else’s username or number.",
  contact_blocked: "You have blocked this person.",
  database_unavailable: BUSY,
  device_not_found: "This device is signed out already.",
  file_too_large: "This file is too large.",
  group_full: "The group has no free place.",
  image_too_large: "This picture has too many pixels.",
  invalid_credentials: "The username or the password is wrong.",
  invitation_not_found: "This invitation is not open any more.",
  link_not_found: "This link doesn’t work, or doesn’t work any more.",
  link_used_up: "The link of this request has no uses left.",
  member_not_found: "This person is no member of the group any more.",
  message_deleted: "This message was deleted meanwhile.",
  message_not_found: "This message is not there any more.",
  message_too_large: "This message is too long.",
  must_be_encrypted: "This group takes encrypted messages only.",
  muted: "A moderator has muted you in this group.",
  no_pending_request: "This request is not open any more.",
  not_a_contact: "This person takes messages from contacts only.",
  not_permitted: "Your rank in this group doesn’t permit this.",
  overloaded: BUSY,
  peer_not_found: "There is nobody with this username or number.",
  rank_too_low: "Your rank in this group is too low for this.",
  rate_limited: "That was too much at once. Please wait.",
  request_not_found: "This request is not open any more.",
  slow_mode: "The slow mode of this group asks you to wait.",
  storage_full: BUSY,
  storage_unavailable: BUSY,
  successor_needed: "Hand the group over first.",
  too_many_groups: "You can’t be in more groups.",
  too_many_links: "The group can’t have more links. Revoke one first.",
  unavailable: BUSY,
  unsupported_image: "This is not a whole JPEG, PNG, WebP or GIF picture.",
  username_taken: "This username is taken. Choose another one.",
  version_conflict: "It was changed elsewhere meanwhile.",
};

/** Messages for invalid fields. `limit` is the number in the server's message. */
const FAULTS = {
  invalid_characters: () => "Some of these characters can’t be used here.",
  required: () => "Please fill this in.",
  too_long: (limit) => `This is too long: ${limit} characters at most.`,
  too_short: (limit) => `This is too short: at least ${limit} characters.`,
};

/** The message for a refusal or failure, with the wait that the server requests. */
export function words(error) {
  const text = error.until ? `${wordsOf(error)} It ends: ${untilWords(error.until)}.` : wordsOf(error);
  return error.retryAfter > 1 ? `${text} (${Math.ceil(error.retryAfter)} s)` : text;
}

function wordsOf(error) {
  if (error instanceof Problem) {
    const [fault] = error.errors;
    return REFUSALS[error.code] ?? (fault ? faultWords(fault) : error.message);
  }
  return error instanceof NetworkError ? "The server can’t be reached." : "Something went wrong in this page.";
}

/** The message for an entry of a problem's `errors`; by default the server's own. */
export function faultWords({ code, message }) {
  const limit = /\d+/.exec(message)?.[0];
  const known = FAULTS[code];
  if (known && (known.length === 0 || limit)) return known(limit);
  return message && message[0].toUpperCase() + message.slice(1);
}
