"""Rows as files: cells for spreadsheets that take nothing for a formula, tracks for maps. Pure; all of them stream."""
