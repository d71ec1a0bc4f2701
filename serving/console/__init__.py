"""Pages for people who would look rather than read; `portrait console` serves them, and nothing here writes."""
