"""Writers of the official on-disk formats, one file per data set."""
