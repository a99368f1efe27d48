"""The command line: one module for each group of commands, all hung on one cyclopts app."""

from tracker_server.cli.main import main

__all__ = ["main"]
