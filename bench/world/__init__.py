"""A small world with known truth: pictures of colour emoji, their names, boxes and pixel masks."""
