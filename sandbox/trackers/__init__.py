"""Ticket trackers on loopback: each speaks its vendor's API, and shows its tickets as pages for people."""
