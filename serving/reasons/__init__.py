"""Why a score is what it is: contributions in sentences, the events behind them, and what would be without some."""
