"""One declaration per model; a file added here is found by :func:`training.task.all_tasks`."""
