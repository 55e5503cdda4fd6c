"""Damaged files and arbitrary input, tried in processes that are watched."""
