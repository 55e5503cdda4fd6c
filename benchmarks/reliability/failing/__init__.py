"""Lets the system fail under a command, and judges how that ended."""
