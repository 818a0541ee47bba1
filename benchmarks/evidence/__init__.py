"""The methods side by side on the tiny world: every training, every figure and the page docs/evidence.md."""
