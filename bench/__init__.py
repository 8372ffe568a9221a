"""What a cold start costs and what the bundle weighs, measured on the real zip."""
