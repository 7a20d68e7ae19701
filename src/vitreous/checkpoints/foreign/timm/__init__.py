"""timm's models: ``vit`` and its relatives, each read and written; ``architectures`` what names mean."""
