"""Honest evaluation: figures with intervals, leakage, calibration, and the vote of single frames to compare with."""
