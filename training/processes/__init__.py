"""Several processes that train one network: weights spread over them (FSDP2), and accelerate's config files in ``configs``."""
