"""Keeps champions fresh: brings views to the head, looks for drift, trains anew; its report and its command."""
