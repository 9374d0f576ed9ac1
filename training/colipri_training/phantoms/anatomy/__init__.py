"""Normal anatomy: implicit shapes in the canonical chest, and the painters that put them on a scene."""
