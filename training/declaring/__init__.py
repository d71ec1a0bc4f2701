"""What a task is declared in: kinds of answers, recipes, baselines, and the SQL of weekly observations."""
