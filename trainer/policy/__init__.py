"""What any training of a policy needs beside its loss: did the weights move, and what did the reference say."""

from trainer.policy.reference import LoraReferenceSnapshot
from trainer.policy.weight_delta import WeightDeltaTracker

__all__ = ["LoraReferenceSnapshot", "WeightDeltaTracker"]
