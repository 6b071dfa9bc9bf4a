"""Live views: what changes, sent to many watchers from one reader per tenant or per parent.

`hub.py` reads a `Source` once and hands each event to every watch that wants it;
`ledger.py` and `parent.py` are the two sources; `choice.py` is what one watch wants.
Nothing here decides who may watch what, nor how an event travels.
"""
