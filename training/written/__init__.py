"""Models that say something of every shopper: fitted, registered, and what they say written to a view with history."""
