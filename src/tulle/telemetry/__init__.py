"""What leaves the node: which samples, how they are written, and what a receiver's answer means."""
