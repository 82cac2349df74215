"""The devices that graphs run on: one module or folder each, behind one protocol (`session.py`)."""
