"""The calls of one attempt at a proposal: every request to a model, in the store the moment that it is over."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from agents.transcript import CallInfo, Transcript
from graph.services import Services
from memory.records import Call, CallRole, Trial, utc_now
from memory.store import Store

MAX_FAILURES = 8
"""Failed requests that are kept of an attempt. An endpoint that is away for a night would fill the store with its
absence; events say how long it was away, and the first failures say why."""


PROPOSING = frozenset({CallRole.PROPOSE, CallRole.CRITIC})
"""What belongs to the conversation that a proposal comes of."""


class AttemptCalls:
    """What was asked and answered in one attempt of a trial, bound to the store.

    Args:
        store: where calls are kept.
        trial_id: the trial.
        attempt: the attempt at its proposal.
        roles: what was asked for: calls of other roles are not seen, and none is stored here.
        stored: told of each call that was stored.
    """

    def __init__(
        self,
        store: Store,
        trial_id: str,
        attempt: int,
        roles: frozenset[CallRole] = PROPOSING,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._trial_id, self._attempt, self._roles = store, trial_id, attempt, roles
        self._stored = stored
        earlier = [call for call in store.calls(trial_id) if call.attempt == attempt]
        self._calls = [call for call in earlier if call.role in roles]
        self._next_position = earlier[-1].position + 1 if earlier else 0
        self.writing_s = 0.0
        """Seconds spent in the store while a model was asked."""

    @property
    def failed(self) -> bool:
        """Whether a request failed, and none was answered."""
        return bool(self._calls) and not self.answers()

    def answers(self) -> list[Call]:
        """The calls that were answered, in order."""
        return [call for call in self._calls if call.raw_reply is not None]

    def transcript(self, proposer: str) -> Transcript:
        """What a proposer of this name answered so far, and the place for what it will answer."""
        earlier = [_as_info(call) for call in self.answers() if call.proposer == proposer]
        return Transcript(earlier, partial(self.write, proposer))

    def write(self, proposer: str, info: CallInfo) -> None:
        """Store a call after those that are there. Of failures only the first few, the first one with its prompt."""
        started = time.monotonic()
        failed = info.raw_reply is None
        failures = sum(call.raw_reply is None for call in self._calls)
        if not failed or failures < MAX_FAILURES:
            prompt = None if failed and failures else info.prompt
            call = self._as_call(proposer, info, prompt)
            self._store.add_calls([call])
            self._calls.append(call)
            self._next_position += 1
            self._stored()
        self.writing_s += time.monotonic() - started

    def _as_call(self, proposer: str, info: CallInfo, prompt: list[dict[str, Any]] | None) -> Call:
        return Call(
            call_id=f"{self._trial_id}-a{self._attempt}-{self._next_position}",
            trial_id=self._trial_id,
            attempt=self._attempt,
            position=self._next_position,
            proposer=proposer,
            model=info.model,
            prompt=prompt,
            raw_reply=info.raw_reply,
            error=info.error,
            prompt_tokens=info.prompt_tokens,
            completion_tokens=info.completion_tokens,
            latency_s=info.latency_s,
            usd=info.usd,
            created_at=utc_now(),
            message=info.message,
            role=info.role if info.role in self._roles else min(self._roles),
            reply_form=info.reply_form,
            finish_reason=info.finish_reason,
        )


def _as_info(call: Call) -> CallInfo:
    return CallInfo(
        model=call.model,
        prompt=call.prompt,
        raw_reply=call.raw_reply,
        error=call.error,
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        latency_s=call.latency_s,
        usd=call.usd,
        message=call.message,
        role=call.role,
        reply_form=call.reply_form,
        finish_reason=call.finish_reason,
    )


def stored_reply(services: Services, trial: Trial, attempt: int) -> str | None:
    """The last raw reply of one attempt, or None if there is none yet: the proposal, once the attempt is answered."""
    answers = [c for c in AttemptCalls(services.store, trial.trial_id, attempt).answers() if c.role is CallRole.PROPOSE]
    return answers[-1].raw_reply if answers else None
