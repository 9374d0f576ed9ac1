"""What the Slicer module does, without Qt: the scene, the client, jobs, the managed server, and words for the panels.

Nothing here imports qt, ctk, slicer.app or torch. Modules that need `colipri_core` are imported once it is installed:
`params`, `requirements`, `job` and `server_process` need the standard library only.
"""
