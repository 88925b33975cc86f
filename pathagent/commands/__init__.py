"""One file a command. Only `phantom` and `demo` know phantoms; the rest see slides alone."""
