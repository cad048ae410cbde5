"""A proposer that says what it was told to say. Ships with the package, so that every layer can be tested for real."""

import time
from collections.abc import Iterable

from agents.base import NoReplyError, ProposalContext, Reply, ScriptedReply, local_call


class ScriptedProposer:
    """Gives prepared raw replies, one a call, in order.

    Args:
        replies: raw replies, or functions from the context to a raw reply.
        name: the proposer's name in the record.
        repairs_crashes: whether it is given the traceback of a candidate that crashed.
    """

    def __init__(
        self, replies: Iterable[ScriptedReply], name: str = "scripted", *, repairs_crashes: bool = False
    ) -> None:
        self.repairs_crashes = repairs_crashes
        self._replies = list(replies)
        self._name = name
        self.contexts: list[ProposalContext] = []
        """Every context it was asked with, for tests to look at."""

    @property
    def name(self) -> str:
        """The proposer's name in the record."""
        return self._name

    def check_ready(self) -> None:
        """Always: it needs nobody."""

    def propose(self, context: ProposalContext) -> Reply:
        """Give the next reply.

        Raises:
            NoReplyError: the script is used up.
        """
        position = len(self.contexts)
        self.contexts.append(context)
        if position >= len(self._replies):
            raise NoReplyError(f"the script has only {len(self._replies)} replies", where=self._name)
        started = time.monotonic()
        reply = self._replies[position]
        raw = reply if isinstance(reply, str) else reply(context)
        return Reply(raw=raw, calls=(local_call(raw, time.monotonic() - started),))
