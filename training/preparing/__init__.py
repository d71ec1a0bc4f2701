"""What is decided before a task is fitted: inputs, parameters, components, trees to go on from."""
