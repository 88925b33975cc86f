"""What an agent can do to a slide: read it, encode it, look at it with a model, measure it.

Sub-packages are imported where they are used; importing this package loads nothing heavy.
"""
