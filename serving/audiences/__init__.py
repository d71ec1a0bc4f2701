"""Groups of shoppers: who belongs to one, what sets it apart, whom to address and what came of it."""
