"""The `colipri-train` command, one small module a group of verbs."""
