"""Which items are worth a look for a shopper: what they bought, what sells now, and methods that propose; no model."""
