"""The model: formula, fit, metrics, explanation, drift statistics."""
