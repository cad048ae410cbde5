"""The LangGraph state machine in which the five roles meet."""
