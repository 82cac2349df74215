"""Training of the two small models that know the emoji world."""
