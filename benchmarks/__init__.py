"""What is measured, and against whom: each module holds one benchmark, `run(scratch, real_data) -> rows`."""
