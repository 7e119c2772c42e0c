"""Network architectures, their training, export and inference sessions."""
