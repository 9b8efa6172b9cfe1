"""Flow runs in, their jobs' ends reported to Prefect out: the worker of the type `generic`.

With the demo and the listing of jobs, this is all that knows Prefect.
"""
