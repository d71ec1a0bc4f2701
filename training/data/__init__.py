"""A task's rows: labels and features at the instant of the question, split by time, out of the log."""
