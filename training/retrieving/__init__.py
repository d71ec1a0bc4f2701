"""What proposes the items a recommender ranks, learnt from the log as it was at an instant."""
