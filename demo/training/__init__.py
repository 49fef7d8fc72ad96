"""Trains the demo model, and the reader with which the benchmarks read its pictures."""
