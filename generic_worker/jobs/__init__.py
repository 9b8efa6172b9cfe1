"""A recipe's jobs: submitted, watched until they end, cancelled, cleaned up after.

Jobs in, their statuses out. It knows nothing of flow runs and of Prefect, and never concludes anything from silence.
"""
