"""One run for whoever has an NVIDIA card: `python -m bench.gpu`. Every part is tried, and says why when it cannot be had.

Ways, workers, rounds and rows are those of `bench.compare`; here are the card, its ways, and what is asked of it.
"""
