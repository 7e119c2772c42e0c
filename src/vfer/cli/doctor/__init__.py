"""`vfer doctor`: check this machine and this repository, and name a remedy for each problem."""
