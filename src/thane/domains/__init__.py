"""The domains: one folder each, all of one shape, entered by their package only."""
