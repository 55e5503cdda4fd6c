"""Defines the exception that commands show as a message instead of a traceback."""


class UserError(ValueError):
    """An error that the user can correct; its text says what is wrong, where, and what to do."""
