"""transformers' models, one file for each model_type, and ``processor`` for what they do to pictures."""
