"""Model weights: what each name consists of, and how it is fetched."""
