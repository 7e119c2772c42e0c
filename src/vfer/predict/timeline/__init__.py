"""Everybody in a video through time: from frames to tracks, people, windows and segments."""
