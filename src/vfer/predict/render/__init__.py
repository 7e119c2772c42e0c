"""What shows a timeline: the report and the annotated film."""
