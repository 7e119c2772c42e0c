"""The expressions of everybody in a video over time: from frames to tracks, people, windows and segments."""
