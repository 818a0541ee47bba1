"""One module per resource; `api.app` puts them together."""
