"""The contenders of `make bench`: for each peer its smallest fair server, in a file of its own."""
