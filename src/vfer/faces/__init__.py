"""The `faces` step: find one face per clip, follow it, and crop it."""
