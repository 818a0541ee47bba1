"""The tiny world: drawn videos of moving shapes, and small trained models in the formats of the large ones."""
