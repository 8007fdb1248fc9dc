"""What layer shapes cost in an engine on this machine, measured and kept. Only `layers` knows modules."""
