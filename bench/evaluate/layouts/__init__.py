"""Where users keep the public data sets: one reader for each layout. Nothing is copied, unpacked or written."""
