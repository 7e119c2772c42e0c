"""Presentations of a timeline: the report and the annotated film."""
