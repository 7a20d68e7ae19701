"""Floor 4: models on disk. ``file`` is our own directory, ``foreign`` what other libraries write,
``source`` whichever of them a path turns out to be, ``passport`` what a file says of itself."""
