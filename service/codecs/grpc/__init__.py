"""The gRPC forms of the protocols: protobuf read and written straight from and into arrays."""
