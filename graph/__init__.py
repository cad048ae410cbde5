"""The LangGraph state machine, the only place where the five roles meet; records live in `memory`."""
