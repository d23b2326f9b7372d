"""Many hospitals on one machine, and the studies run on them."""
