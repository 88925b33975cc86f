"""The addresses of the server: `/api/v1/…` and the pages."""
