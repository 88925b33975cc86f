"""The reading room: the chat page and its API. One server on one machine; nothing leaves it.

Cases, runs, events, report versions, users and the audit chain live in a database; slides stay where
they are and are named by random ids. A run lives in the server and not in a browser's connection.
"""
