"""The experiment's MLflow run, its registered models, and the gate to the alias `champion`."""
