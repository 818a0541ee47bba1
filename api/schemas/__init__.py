"""The shapes that clients see, apart from the tables behind them."""
