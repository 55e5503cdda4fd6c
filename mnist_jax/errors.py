"""The one exception that commands show as a message instead of a traceback."""


class UserError(ValueError):
    """Something the user can mend. The text says what is wrong, where, and what to do."""
