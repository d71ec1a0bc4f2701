"""One declaration per experiment; a file here is found by :func:`~serving.experiments.experiment.all_experiments`."""
