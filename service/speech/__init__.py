"""Speech: scores in, text out; what a speech model needs besides its runner."""
