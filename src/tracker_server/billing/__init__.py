"""The billing engine: pure functions from a state, a command and an instant to a new state and its facts.

No module here reads a clock, a file or a database. Start reading at ``engine.py``.
"""
