"""Where the models come from: a folder, a registry, or the package."""
