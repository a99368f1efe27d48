"""The way of a fix, from frame to commit to answer. No sockets and no SQL: those are behind ports.py."""
