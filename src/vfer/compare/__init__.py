"""The comparison: every method under every protocol, fold by fold, and the table of the results."""
