"""Measurements against named peers. They print figures and ratios, and fail no test."""
