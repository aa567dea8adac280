"""The metrics adapter: the custom metrics API of Kubernetes, answered by asking the pods themselves."""
