"""Runs, versions and aliases as MLflow keeps them, whatever a model is of."""
