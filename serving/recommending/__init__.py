"""From proposals to a list: ranked on live features, sorted out by the rules of the shop, each item with a reason."""
