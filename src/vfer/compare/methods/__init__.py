"""Ways to tell a clip's expression: all learn from the same clips, and answer with probabilities."""
