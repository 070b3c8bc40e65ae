"""PostgreSQL access: the engine and its errors, the connection pool, and named statements."""
