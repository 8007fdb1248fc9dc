"""Load on a server over HTTP, from a process of its own: open loop, latency from the intended send time. Torch-free."""
