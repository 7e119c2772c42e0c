"""Trains the CNN's backbone on whose face it sees: the `pretrain` step."""
