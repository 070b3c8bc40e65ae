"""Clients generated from the OpenAPI document, as app developers generate them: `python -m tests.generated_clients`."""
