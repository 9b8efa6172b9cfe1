"""Flows that are sent without a deployment, as files in a directory that callers and jobs share.

Prefect calls a pickled flow with its context a bundle, and moves it with two commands that a work pool names: here
`python -m generic_worker.bundles.upload` and `python -m generic_worker.bundles.execute`.
"""

UPLOAD = "generic_worker.bundles.upload"
"""The module that puts a bundle into the directory."""
EXECUTE = "generic_worker.bundles.execute"
"""The module that takes it from there, and runs the flow."""
