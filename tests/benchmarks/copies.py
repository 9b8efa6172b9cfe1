"""Thousands of scheduled flow runs, as copies of one in the server's own PostgreSQL."""

from __future__ import annotations

import asyncpg  # Prefect brings it


async def copies(url: str, run: str, number: int) -> dict[str, str]:
    """Copy a scheduled flow run; returns the copies' names by their ids."""
    database = await asyncpg.connect(url)
    try:
        await database.execute(
            "CREATE TEMP TABLE new AS SELECT gen_random_uuid() AS run, gen_random_uuid() AS state "
            f"FROM generate_series(1, {number})"
        )
        own = {"id": "new.run", "name": "'run-' || new.run", "state_id": "NULL", "idempotency_key": "NULL"}
        await _copy(database, "flow_run", f"old.id = '{run}'", own)
        own = {"id": "new.state", "flow_run_id": "new.run"}
        await _copy(database, "flow_run_state", f"old.flow_run_id = '{run}' AND old.type = 'SCHEDULED'", own)
        await database.execute("UPDATE flow_run SET state_id = new.state FROM new WHERE flow_run.id = new.run")
        return {str(row[0]): f"run-{row[0]}" for row in await database.fetch("SELECT run FROM new")}
    finally:
        await database.close()


async def _copy(database, table: str, which: str, own: dict[str, str]) -> None:
    query = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
    names = [row[0] for row in await database.fetch(query)]
    picked = ", ".join(own.get(name, f'old."{name}"') for name in names)
    listed = ", ".join(f'"{name}"' for name in names)
    await database.execute(f"INSERT INTO {table} ({listed}) SELECT {picked} FROM {table} old, new WHERE {which}")
