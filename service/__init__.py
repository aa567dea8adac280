"""The pod: a trained model as an HTTP API, and the metrics adapter that lets Kubernetes scale it."""
