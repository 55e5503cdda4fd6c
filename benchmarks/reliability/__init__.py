"""Kills, corrupts, starves and misleads real trainings, and counts what they lose."""
