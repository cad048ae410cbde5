"""What a text must be before it is stored or sent."""


def storable(text: str) -> str:
    """`text` with lone surrogates written as escapes and NULs removed: the store and HTTP accept neither."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "")
