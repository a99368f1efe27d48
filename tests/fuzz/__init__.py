"""Bytes that nobody meant, against everything that reads bytes. See run.py."""
