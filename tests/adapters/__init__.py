"""The adapters and their survey."""
