"""The commands of `vader`: one module per group."""
