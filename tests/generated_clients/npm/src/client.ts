// The client of @hey-api/openapi-ts gets a page of events, as an app would; the answer is that of a file.
import { readFileSync } from "./node.js";
import { createClient } from "./hey/client/index.js";
import { sendMessage, sync } from "./hey/sdk.gen.js";
import type { EventFrame } from "./hey/types.gen.js";
import { shown } from "./events.js";

const page = readFileSync("page.json", "utf8");
const problem = readFileSync("problem.json", "utf8");

function answer(request: Request): Response {
  if (new URL(request.url).pathname === "/sync") return new Response(page, { headers: { "Content-Type": "application/json" } });
  return new Response(problem, { status: 403, headers: { "Content-Type": "application/problem+json" } });
}

const client = createClient({
  baseUrl: "http://messenger.test",
  fetch: async (input, init) => answer(new Request(input, init)),
});

function bodyOf(event: EventFrame): string | null {
  return event.event === "message.created" ? event.data.body : null;
}

const { data, error } = await sync({ client, query: { cursor: "e40", limit: 200 } });
if (data === undefined) throw new Error(JSON.stringify(error));
const refused = await sendMessage({ client, body: { target_id: 9007199254740991, client_id: "1", body: "Hello" } });
const isRefused: boolean = refused.error?.code === "not_a_contact";
console.log(
  JSON.stringify({
    shown: data.events.map((event) => [event.event, shown(event)]),
    bodies: data.events.map(bodyOf).filter((body) => body !== null),
    isRefused,
  }),
);
