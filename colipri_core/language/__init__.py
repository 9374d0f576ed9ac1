"""Report text: sections, sentences, what they affirm or deny, their opposites, and the findings they name."""
