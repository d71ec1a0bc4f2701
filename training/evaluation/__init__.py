"""What a model is worth to whoever acts on its scores: decisions, lift, slices, fairness, stability over time."""
