"""Editing labelmaps: objects, brush and prompt edits with undo, and a journal that survives a crash."""
