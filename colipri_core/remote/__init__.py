"""Engines on another machine: the protocol both ends speak, the client, the server, and the browser view."""
