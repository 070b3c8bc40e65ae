// What an app does with events: the name of each says which data it has. Compiled with the types of openapi-typescript.
import type { components, operations } from "./schema.js";

type EventFrame = components["schemas"]["EventFrame"];
type Problem = operations["sendMessage"]["responses"][403 | 404 | 409]["content"]["application/problem+json"];

/** What an app would show of an event. */
export function shown(event: EventFrame): string {
  // @ts-expect-error: before its name is known, an event has no body.
  void event.data.body;
  switch (event.event) {
    case "message.created":
    case "message.edited":
    case "message.deleted":
      return `${event.data.sender_id} ${event.data.seq} ${event.data.body ?? "-"}`;
    case "receipt.updated":
      return `${event.data.user_id} ${event.data.read_seq} ${event.data.unread ?? "-"}`;
    case "conversation.updated":
      return `${event.data.target.id} ${event.data.unread} ${event.data.last_message?.body ?? "-"}`;
    case "contact.updated":
      return `${event.data.user.id} ${event.data.state}`;
    case "profile.updated":
      return "privacy" in event.data ? `own ${event.data.privacy.last_seen}` : `${event.data.id} ${event.data.contact}`;
    case "device.added":
      return `${event.data.id} ${event.data.name}`;
    case "device.removed":
      return event.data.id;
    case "group.updated":
      return `${event.data.group.id} ${"me" in event.data.group ? event.data.group.me.role : event.data.group.membership}`;
    case "group.member":
      return `${event.data.target_id} ${event.data.member.user.id} ${event.data.membership}`;
    case "group.invited":
      return `${event.data.group.id} ${event.data.group.membership} ${event.data.inviter?.id ?? "-"}`;
    case "group.requested":
      return `${event.data.target_id} ${event.data.user.id} ${event.data.pending}`;
    default:
      return unknown(event);
  }
}

/** Events of a later release: the compiler knows that there are no others now. */
function unknown(event: never): string {
  return `unknown ${JSON.stringify(event)}`;
}

/** The codes of an operation are known, too. */
export function canRetry(problem: Problem): boolean {
  // @ts-expect-error: no such code.
  if (problem.code === "cursor_expired") return true;
  return problem.code === "not_a_contact";
}
