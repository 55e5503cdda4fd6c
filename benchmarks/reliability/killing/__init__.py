"""Kills commands at chosen moments, starts them again, and compares what they end with."""
