"""The whole server from outside: real sockets, a real process, a real database, real kills."""
