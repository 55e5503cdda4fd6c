"""Reads picture files, and turns them into images like those with which a network was trained."""
