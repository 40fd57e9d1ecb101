"""The one exception for input that a person can correct."""


class InputError(ValueError):
    """Input that cannot be used. The message says what is wrong, where, and what is allowed."""
