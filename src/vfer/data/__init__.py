"""The dataset: its tables, its readers, its labels and its split."""
