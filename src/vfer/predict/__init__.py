"""Answers to videos from a trained model."""
