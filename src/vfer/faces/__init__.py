"""Finds one face a clip, follows it, and cuts it out: the `faces` step."""
