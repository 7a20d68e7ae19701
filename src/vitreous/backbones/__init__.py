"""Floor 2: pictures in, ``Features`` out. ``interface`` is the contract, ``encoder`` what all share."""
