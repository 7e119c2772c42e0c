"""The sequence model: its network, its training, and its inference."""
