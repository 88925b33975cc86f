"""The tasks: each one request (a schema) and one function that draws it, over any generator."""
