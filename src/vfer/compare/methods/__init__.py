"""The methods of the comparison: all learn from the same clips and predict probabilities."""
