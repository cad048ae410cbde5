"""A transcript that keeps what it is told in a list, and goes on from there when it is opened again."""

from dataclasses import replace

from agents.base import NoReplyError, ProposalContext, Proposer, Reply
from agents.transcript import CallInfo, Transcript
from tests.support.proposals import make_context


class Notes(list[CallInfo]):
    """Calls in the order in which they were recorded."""

    def transcript(self) -> Transcript:
        """A transcript that has the answers so far and adds to them."""
        return Transcript([call for call in self if call.raw_reply is not None], self.append)


def noted(proposer: Proposer, context: ProposalContext | None = None) -> tuple[Reply, Notes]:
    """What a proposer answers, and every request that it made for it."""
    notes = Notes()
    return proposer.propose(replace(context or make_context(), transcript=notes.transcript())), notes


def refused(proposer: Proposer, context: ProposalContext | None = None) -> tuple[NoReplyError, Notes]:
    """Why a proposer gives no answer, and every request that it made."""
    notes = Notes()
    try:
        reply = proposer.propose(replace(context or make_context(), transcript=notes.transcript()))
    except NoReplyError as error:
        return error, notes
    raise AssertionError(f"it answered {reply.raw!r}")
