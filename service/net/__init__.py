"""Sockets, connections and their end."""
