"""Modes: when which zone alarms, and how loudly (`docs/modes.md`)."""
