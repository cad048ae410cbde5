"""One measurement of one program: training, early stop, scoring, probing; what is kept is decided elsewhere."""
