"""What an agent may call, and the trainer tool; an agent reaches the record and the trainer through here alone."""
