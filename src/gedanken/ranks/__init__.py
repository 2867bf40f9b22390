"""Ranks: processes of one training that talk to each other, on one machine or on several."""
