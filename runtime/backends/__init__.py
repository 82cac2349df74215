"""The machines that graphs run on: one small module each, behind one protocol."""
