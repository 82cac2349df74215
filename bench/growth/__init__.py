"""How seconds grow with the work: maps, pictures, questions, batch, threads. Each curve with its measured exponent."""
