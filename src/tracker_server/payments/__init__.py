"""Money from outside: one port for all gateways, what they tell us, and what follows from it. Start at ``port.py``."""
