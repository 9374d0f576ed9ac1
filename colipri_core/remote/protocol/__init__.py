"""The wire protocol, version 1: what travels between a front end and `colipri serve`, and how each end checks it.

Every request under /v1 and every answer carries the header `Colipri-Protocol: 1`. Small values travel as JSON.
Whatever has arrays travels as a *frame* (`frames.py`); a long call answers with a *stream* of frames (`streams.py`):
progress and sentences while it works, then exactly one result or error. A click is one round trip.

The dataclasses of the core are their own wire format: `plain.py` turns them into JSON values and back by their
annotations, strictly: unknown keys, missing keys and wrong types are refused. Arrays are named in the frame's header
and unpacked only once shape and type are known to be what is expected. Any body that breaks a rule raises
`ProtocolError`, or `TooLargeError` if it announces more than `limits.py` allows; nothing of that is ever allocated.

Labels that are edited live at both ends. Each answer to an edit carries the labels of the box that changed, the state,
the step as it stands in the history, and the *revision*: the number of edits, undos and redos made so far. A request
names the revision it follows, so that one whose answer was lost is never applied twice (`editing.py`), and a session
can be made anew from the client's history (`restore.py`).
"""
