"""`python -m generic_worker.cli`: the same as `generic-worker`."""

from generic_worker.cli.main import main

main()
