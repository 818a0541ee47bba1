"""Diffusers-shaped pipelines and models of published base models that diffusers itself lacks."""
