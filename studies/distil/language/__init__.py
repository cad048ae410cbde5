"""Training of students that are language models: adapters of few weights, of any causal model."""
