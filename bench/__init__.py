"""Measurements that anyone can repeat: the world we know the truth of, accuracy, throughput."""
