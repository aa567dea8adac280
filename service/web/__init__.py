"""The page, and the document of the API."""
