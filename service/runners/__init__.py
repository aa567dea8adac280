"""The runtimes that compute models; each file is the only importer of its runtime."""
