"""The embedded default: the whole system on one machine. Only the cloud is simulated; nothing of ours is."""
