"""A slide and its report in a notebook."""
