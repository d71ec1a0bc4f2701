"""Experiments: who meets which variant, what is noted of it, and what became of it."""
