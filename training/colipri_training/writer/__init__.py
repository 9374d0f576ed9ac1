"""Teaching a report decoder to write from the tokens of an encoder that is already trained."""
