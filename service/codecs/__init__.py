"""The wire formats: pure functions between bytes and Call / Reply, one file a format."""
