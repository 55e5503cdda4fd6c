"""Scripts that measure this project's speed and accuracy, and write the tables of the README files.

Anyone can repeat the measurements.
"""
