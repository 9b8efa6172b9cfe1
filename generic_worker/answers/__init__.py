"""What a command printed in; what that says of jobs out: a state, proof of absence, or nothing.

Pure: it runs nothing, waits for nothing, and knows no jobs but those that it is asked about.
"""
