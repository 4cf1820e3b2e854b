"""What a world does not have: real processes cannot do everything that virtual ones can, nor can every controller."""


class Lacking(Exception):
    """A scenario asks for something that cannot be done here; the text says what would be needed, in a few words."""


__all__ = ["Lacking"]
