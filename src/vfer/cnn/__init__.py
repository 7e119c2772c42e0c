"""The CNN: architectures, augmentation, and training on stills."""
