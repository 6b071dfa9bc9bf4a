"""Thane's independent verifier: checks a proof offline, without the server that made it.

Standard library and `cryptography` only; it imports nothing of `thane` and shares no code
with it, so a mistake in the prover is not repeated here. At most 500 lines, to be read by
whoever wants to rely on it. It never says that something is proven when only parts of it
are: `Report.unproven` lists what a reader might wrongly conclude.
"""
