"""`generic-worker try`: a recipe in, real jobs on the author's own infrastructure, verdicts out. No Prefect."""
