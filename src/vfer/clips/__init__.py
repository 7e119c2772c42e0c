"""Work over many clips: executors, the clip store, content digests."""
