"""Segments of shoppers by recency, frequency and money, and their stage of life, written back as features."""
