"""What an NVIDIA card does, in steps that go on where they were cut off; and a folder to carry to a machine without registry."""
