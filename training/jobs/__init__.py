"""Trains a task from rows to a registered version, and makes a run again; and the command of both."""
