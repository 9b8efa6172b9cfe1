"""A Prefect worker for any infrastructure that has a command line.

Prefect imports this package to learn of the worker type `generic`. What does not need Prefect does not import it: the
worker's classes are loaded when they are first asked for.
"""

from __future__ import annotations

__version__ = "0.1.0"
