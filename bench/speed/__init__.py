"""Timed tests: each part of the way alone, checked before its clock starts."""
