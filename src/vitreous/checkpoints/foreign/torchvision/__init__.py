"""torchvision's models, one file for each of its classes."""
