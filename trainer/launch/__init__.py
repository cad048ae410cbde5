"""How a trial's process is started and ended; what it may touch is decided in `trainer/sandbox`."""
