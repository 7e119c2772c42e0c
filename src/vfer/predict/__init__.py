"""Predictions for videos by a trained model."""
