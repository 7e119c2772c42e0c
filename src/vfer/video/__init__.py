"""Decoding: sampled frames and motion vectors of videos."""
