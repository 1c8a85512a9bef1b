"""The compiler: what a network is, and every form it leaves in."""
