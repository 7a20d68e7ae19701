"""Floor 4: what is learnt. A task turns a model and a batch into a loss, and keeps the score."""
