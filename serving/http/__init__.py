"""HTTP in front of the SDK; needs the extra ``serve``."""
