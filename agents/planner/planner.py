"""The language-model proposer: a small graph of steps around one model, and one raw answer at its end.

It returns what the model proposes; the rails judge it. What the transcript holds already is taken from there, so that
asking again after a failure or a crash goes on with the conversation where it was.

Import this module lazily: langchain takes seconds to load.
"""

from collections.abc import Callable

from agents.base import ProposalContext, Reply
from agents.model.config import ModelConfig
from agents.model.endpoint import GRACE_S, Endpoint
from agents.model.forms import ReplyForm
from agents.planner.conversation import Learnt
from agents.planner.graph import RECURSION_LIMIT, TurnContext, build_planner_graph
from agents.planner.turn import Model, Offer, PlannerTurn
from memory.records import Origin
from tools.trajectory import Trajectory


class Planner:
    """Asks a model behind an OpenAI-compatible endpoint.

    Args:
        name: the model's name in models.toml.
        config: its entry there.
        trajectory: read access to the record for the tools; without it only the context is readable.
        critic: the entry of the model that gives a second opinion; None: nobody does.
        form: the form of reply that served this campaign before.
        grace_s: how long a request in flight may still take once the loop is asked to stop.

    Raises:
        UserError: the key's environment variable is not set.
    """

    def __init__(
        self,
        name: str,
        config: ModelConfig,
        *,
        trajectory: Trajectory | None = None,
        critic: ModelConfig | None = None,
        form: ReplyForm | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._name = name
        self._trajectory = trajectory
        self._model = Model(endpoint=Endpoint(config, grace_s=grace_s), config=config, learnt=Learnt.of(config, form))
        self._second = None
        if critic is not None:
            own = critic == config
            other = Model(endpoint=Endpoint(critic, grace_s=grace_s), config=critic, learnt=Learnt.of(critic))
            self._second = self._model if own else other
        self._graph = build_planner_graph()

    repairs_crashes = True

    @property
    def name(self) -> str:
        """The model's name in models.toml."""
        return self._name

    def check_ready(self) -> None:
        """Whether somebody listens at the endpoint.

        Raises:
            NoReplyError: nobody does.
        """
        self._model.endpoint.check_ready()

    def propose(self, context: ProposalContext) -> Reply:
        """Go through the planner's graph once. The transcript has every request.

        Raises:
            NoReplyError: the endpoint gave no answer, or nothing is left to propose.
        """
        return self.plan(context, code="diff" in context.task.edit.modes)

    def plan(
        self,
        context: ProposalContext,
        *,
        suggest: Callable[[tuple[str, ...]], Offer] | None = None,
        code: bool = False,
    ) -> Reply:
        """As `propose`, among what a search suggests for a specialist's knobs, and with or without changes of the code.

        Raises:
            NoReplyError: as `propose`.
        """
        turn = PlannerTurn(
            context=context,
            model=self._model,
            second=self._second,
            trajectory=self._trajectory,
            suggest=suggest,
            code=code,
        )
        self._graph.invoke({"steps": 0}, {"recursion_limit": RECURSION_LIMIT}, context=TurnContext(turn))
        return Reply(
            raw=turn.draft,
            specialist=turn.specialist,
            origin=Origin.CODE if turn.wrote_code else Origin.MODEL,
            critique=turn.critique_row,
            lineage=turn.lineage,
            notes=turn.notes,
        )
