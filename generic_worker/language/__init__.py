"""What may be written in a recipe, and what it means: its keys, its expressions, the job script.

Plain data in; a `Recipe`, or text and words rendered from values, out. It runs nothing, and reads no files.
"""
