"""The REST API: a FastAPI app over `domain`, one module per resource."""
