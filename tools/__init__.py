"""What an agent may call, and the trainer tool."""
