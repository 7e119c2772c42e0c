"""`vfer doctor`: what works on this machine and in this repository, and what to do where it does not."""
