# Nothing is built.
