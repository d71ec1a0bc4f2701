"""What a person reads of a version: the model card and its facts."""
