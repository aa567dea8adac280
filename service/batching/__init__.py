"""Calls wait, share a run of the model, and get their own rows back."""
