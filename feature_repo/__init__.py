"""Features declared once: event log, window engine, Redis, jobs."""

from feature_repo.core.feast_import import hasten_feast

hasten_feast()
