"""`python -m generic_worker.cli`: the same as `generic-worker`."""

from generic_worker.cli.app import main

main()
