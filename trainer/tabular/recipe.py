"""What a recorded table says of itself: its metric and menu, and everything that is needed to train a cell again."""

import base64
import hashlib
import zlib
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from rails.menu import KnobValue, Menu
from rails.tables import Table, tuple_of_list

Seeds = Annotated[tuple[int, ...], BeforeValidator(tuple_of_list)]


class Metric(Table):
    """What the scores are."""

    name: str = Field(min_length=1)
    direction: Literal["minimize", "maximize"]
    unit: str
    decimals: int = Field(ge=0, le=12)


class Machine(Table):
    """What a table was recorded on, as far as the last digit of a score depends on it."""

    cpu_model: str
    architecture: str
    instructions: str
    """The vector instructions that torch uses there."""
    torch_version: str
    precision: Literal["float32", "bfloat16"]
    """Of activations: the program takes what the hardware multiplies faster."""

    @property
    def sha256(self) -> str:
        """Equal for machines on which a cell comes out the same to the last digit."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Recipe(Table):
    """How every cell of a table was trained and scored: all that does not follow from its configuration.

    The program itself is part of it, so that a table stays open to audit when `trainer/train.py` moves on.
    """

    program_zlib: str
    """Text of the program, compressed, in base64."""
    knobs: dict[str, KnobValue]
    """The values of those knobs of the program that are not on the menu."""
    steps: int = Field(gt=0)
    """The budget."""
    package: str
    """Name of the installed package whose text is trained on and scored, as `torch.nn`."""
    data_key: str
    """Of the prepared text: equal for the same text, splits, vocabulary and format."""
    corpus_sha256: str
    vocab_size: int
    eval_seq_len: int
    eval_tokens: int
    seeds: Seeds
    """The training seed of each seed index."""
    machine: Machine

    @cached_property
    def program(self) -> str:
        """The program's text.

        Raises:
            ValueError: it is not what `compressed` made.
        """
        try:
            return zlib.decompress(base64.b64decode(self.program_zlib, validate=True)).decode()
        except zlib.error as error:
            raise ValueError(f"the program cannot be unpacked: {error}") from error

    @property
    def program_sha256(self) -> str:
        """Of the program's text."""
        return hashlib.sha256(self.program.encode()).hexdigest()


def compressed(program: str) -> str:
    """A program as it is kept in a recipe."""
    return base64.b64encode(zlib.compress(program.encode(), 9)).decode()


class TableFacts(Table):
    """Everything about a table but its measurements."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    title: str
    metric: Metric
    menu: Menu
    recipe: Recipe | None = None
    """None where the table cannot be trained again here."""
