"""Every method under every protocol: what each says of each clip, fold by fold, and the table of them all."""
