"""Floor 7: a configuration in, a trained and judged model out. ``fit`` is the only loop."""
