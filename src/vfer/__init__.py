"""vfer: facial expression recognition in videos, as a versioned DVC and MLflow pipeline."""
