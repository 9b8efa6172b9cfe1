"""The command `generic-worker`: a command line in, text or JSON and an exit code out.

It must start without Prefect: what needs that is loaded when it is asked for.
"""
