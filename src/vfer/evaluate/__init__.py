"""Evaluation: figures with intervals, leakage, calibration, and the vote of single frames for comparison."""
