"""`portrait models`: what people ask and decide of registered versions, be they of a task or of a model of shoppers."""
