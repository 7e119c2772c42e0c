"""Features of clips: the embeddings of the CNN, or the columns of other tools, and the cache that holds them."""
