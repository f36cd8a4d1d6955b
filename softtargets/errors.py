"""What a user can get wrong."""


class BadInput(ValueError):
    """One sentence for a user: the setting, its value and what is allowed. Ends a program with exit code 2."""
