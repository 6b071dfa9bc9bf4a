"""Programs that make parts of this project out of its registry. Not part of what is installed."""
