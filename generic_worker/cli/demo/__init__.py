"""`generic-worker demo`: a Prefect server, a worker and three flow runs of its own, and nothing left behind."""
