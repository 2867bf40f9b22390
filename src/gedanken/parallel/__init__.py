"""Strategies: who computes the steps of a training, and with whom."""
