"""What a world of real processes does not have."""


class Lacking(Exception):
    """A scenario asks for something that cannot be done here; the text says what would be needed, in a few words."""


__all__ = ["Lacking"]
