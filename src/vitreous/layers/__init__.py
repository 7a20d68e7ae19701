"""Floor 1: tensors in, tensors out. Nothing here knows a picture file or a checkpoint."""
