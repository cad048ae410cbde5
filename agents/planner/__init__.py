"""The proposer that is a language model with tools: its prompts, its conversation and its toolbox."""
