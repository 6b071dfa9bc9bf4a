"""Makes the generated part of `thane.client`: `uv run python -m tools.sdk`, or `just sdk`."""
