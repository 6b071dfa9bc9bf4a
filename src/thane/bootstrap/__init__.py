"""The one place that reads settings, picks adapters, wires services."""
