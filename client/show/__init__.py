"""Answers of the service as text for a person, at 80 columns or more: one module per kind of thing."""
