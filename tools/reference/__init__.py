"""Makes docs/reference: `uv run python -m tools.reference`, or `just sdk`."""
