"""Watches what a champion reads and says: drift of events, inputs, scores and answers against its reference."""
