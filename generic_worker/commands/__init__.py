"""An operation of a recipe and a job's values in; an exact command, and what that printed, out.

It never reads meaning into what a command prints: that is what `answers` is for.
"""
