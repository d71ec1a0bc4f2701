"""Unusual behaviour: a score, reasons, and the response they ask for. Unusual is no accusation."""
