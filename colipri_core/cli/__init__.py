"""The `colipri` command, one module a verb."""
