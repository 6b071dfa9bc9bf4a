"""The isolation program: runs code that nobody trusts, and says what it used.

It is a process of its own, started by exec under an empty environment and spoken to
over a Unix socket. It uses the standard library only and imports nothing else of
Thane, so that neither a key nor a row can ever be in its memory. It knows nothing of
tenants, records or money.
"""
