"""Judges, registers, keeps, compares and promotes versions of tasks."""
