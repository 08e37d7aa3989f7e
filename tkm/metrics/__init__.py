"""How well predicted people and their tracks agree with annotated ones."""
