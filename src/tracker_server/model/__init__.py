"""Frozen values that every layer may use: standard library and msgspec only."""
