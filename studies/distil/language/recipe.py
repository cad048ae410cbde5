"""How a language model is made a student: the objective, and the numbers that go with it."""

from dataclasses import dataclass
from typing import Literal

LanguageObjective = Literal["listwise", "tokens", "advantage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRecipe:
    """How an adapter is trained."""

    objective: LanguageObjective = "listwise"
    """`listwise`: what was chosen becomes likelier among all legal options. `advantage`: so do choices that brought
    something, more than others. `tokens`: the text of the choice becomes likelier, whatever else is legal."""
    seed: int = 0
    epochs: int = 5
    batch: int = 4
    learning_rate: float = 1e-3
    """Of the first step; it falls in a straight line to nothing after the last."""
    weight_decay: float = 1e-2
    clip: float = 1.0
    """Of the gradient's norm."""
    smoothing: float = 0.1
    """Of the target, over all options; `tokens` has none."""
    advantage_scale: float = 0.3
    """The gain, in spreads of the campaign, that makes a choice count e times as much."""
    rank: int = 16
    alpha: int = 32
    layers: int = 8
    """The last so many are adapted."""
    patience: int = 1
    """Epochs without a better loss on the validation rows before training ends. The rate falls from epoch to epoch: on
    the log tried (six runs), the best epoch was the same as with two."""
    validation_share: float = 0.15
    """Of the training rows of each campaign, its last ones: what early stopping looks at."""
