"""Sockets: TCP, UDP and HTTP. They cut nothing and decide nothing; they read, pause, write and close."""
