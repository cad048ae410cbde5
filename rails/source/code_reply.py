"""An edit of code as a proposer writes it: what it may look like, and what it makes of a source."""

from rails.source.placing import Block, NotFoundError
from rails.source.program import EditError
from rails.source.read_bare import read_bare
from rails.source.read_blocks import has_sections, read_sections
from rails.source.read_diff import looks_like_diff, read_diff
from rails.source.spans import Edit, OverlapError, exchanged, split_lines

FORM = """\
First one line of JSON, then the edit as plain text. To change some lines, copy them from the file exactly as they \
are, and write them again as they should be:

{"hypothesis": "what should happen and why", "expected_delta": -0.01, "reason": "one or two sentences"}
<<<<<<< SEARCH
    return progress / knobs.warmup_frac
=======
    return (progress / knobs.warmup_frac) ** 2
>>>>>>> REPLACE

There may be several such blocks. Each SEARCH must fit in one place only: take enough lines. To write a whole \
function, method or class anew, name it, and leave nothing out (its decorators stay unless you give others):

REPLACE FUNCTION MLP.forward
def forward(self, x_BTD):
    return linear(F.gelu(linear(x_BTD, self.up)), self.down)"""
"""The form of a reply that edits code, in words and examples, for a model that is asked for one."""


def apply_code(source: str, text: str, file_name: str) -> str:
    """The source with an edit applied, all of it or nothing.

    Args:
        source: the program as it is.
        text: SEARCH and REPLACE blocks, whole definitions by name, a unified diff, or bare definitions.
        file_name: the one file that may change.

    Raises:
        EditError: it is none of these, fits nowhere or in several places, contradicts itself, leaves something out,
            or touches another file.
    """
    text = _with_line_ends_of(source, text)
    if has_sections(text):
        edits = read_sections(text, source, file_name)
    elif looks_like_diff(text):
        edits = list[Edit](read_diff(text, file_name))
    else:
        edits = read_bare(text, source, file_name)
    return _applied(source, edits)


def _with_line_ends_of(source: str, text: str) -> str:
    """The text with the line ends that the source has; where the source has both kinds, as it is."""
    if "\r" not in source:
        return text.replace("\r\n", "\n").replace("\r", "\n")
    if "\r" not in text and source.count("\r\n") == source.count("\n"):
        return text.replace("\n", "\r\n")
    return text


def _applied(source: str, edits: list[Edit]) -> str:
    """Each edit is looked for in the source as it is; where that fails, in what those before it have made of it."""
    lines = split_lines(source)
    try:
        return exchanged(lines, [edit.place(lines) for edit in edits])
    except (NotFoundError, OverlapError) as error:
        first = error
    blocks = [edit for edit in edits if isinstance(edit, Block)]
    if len(blocks) < len(edits) or len(edits) < 2:  # a definition written twice is a contradiction
        raise first
    try:
        for block in blocks:
            lines = split_lines(exchanged(lines, [Block(block.name, block.old, block.new).place(lines)]))
    except EditError:
        raise first from None
    return "".join(lines)
