"""A recipe's name, path or data in; a recipe that is right, or everything that is wrong with it, out.

It must never run what a recipe says: checking a stranger's recipe is safe.
"""
