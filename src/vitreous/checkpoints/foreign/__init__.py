"""One file per library whose checkpoints are read and written: its names on disk, its way of saying
sizes and preprocessing. None of them imports the library that it speaks for."""
