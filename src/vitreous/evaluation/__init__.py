"""Floor 5: judging answers. ``evaluate`` runs a predictor over data, ``classification`` scores its logits."""
