"""What a request meets before anything is done for it, and what is noted of it on its way out."""
