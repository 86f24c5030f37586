"""Frozen values: accounts, events, decisions, locks, rules and the state. Pure."""
