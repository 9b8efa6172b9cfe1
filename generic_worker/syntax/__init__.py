"""YAML text in, plain data and the position of each part of it out.

It knows nothing of recipes: whatever is refused here is refused in any file.
"""
