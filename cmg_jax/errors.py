"""The one exception that means: the caller's input is wrong, and this line says how to mend it."""


class InputError(ValueError):
    """Input that cannot be used. The message is one line: what is wrong, where, what to do."""
