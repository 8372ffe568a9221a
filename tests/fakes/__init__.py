"""Hand-written stand-ins for every port: small, with their state in plain sight."""
