"""Engines behind a URL: the protocol both ends share, the torch-free client, and the server."""
