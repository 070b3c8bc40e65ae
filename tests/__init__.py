"""The tests, by what they test.

- `architecture`: imports, names, settings, generated pages, the lock file, the layout of the tests.
- `attacks`: hostile requests and slow clients: bounded time and memory, and no leak between requests.
- `authorization`: who may call each route and socket method, and what the answers reveal.
- `benchmarks`: the reference servers of the benchmarks do the same work as this server.
- `browser`: the demo in a real browser.
- `budgets`: statements, function calls and memory of each operation.
- `client`: the client for Python and the chat in the terminal.
- `controllers`: the HTTP API: bodies, parameters, headers, answers, the OpenAPI document.
- `embedded`: the PostgreSQL that ships with the server.
- `end_to_end`: whole servers as processes: command line, workers, proxies, poolers, relays, restarts.
- `faults`: guarantees while processes, networks and disks fail.
- `fuzz`: random requests, frames and forms.
- `generated_clients`: clients generated from the OpenAPI document.
- `known_failures`: vulnerabilities of other projects, each with the test that this one does not have it.
- `leaks`: secrets and texts that must not appear in logs, metrics, problems or foreign tables.
- `media`: images, their processes, and the object store.
- `migrations`: every migration up and down, and schemas of other releases.
- `model`: random operations on several devices, compared with a model.
- `query_plans`: no hot statement reads or sorts an unbounded number of rows.
- `realtime`: sockets, long polls, presence, and the bus between workers.
- `repositories`: statements, and errors of the database.
- `security`: passwords, private keys, encrypted envelopes, TURN credentials.
- `services`: the use cases.
- `support`: what several folders share; no tests.
- `unit_of_work`: transactions, retries, and the pool of connections.
"""
