"""Fits a recipe: its linear part, its trees, their calibration, and the plain models it must beat."""
