"""What a dataset holds: its clips and stills, their labels and places, copies among them, and how they are split."""
