"""Bodies of the cold routes, a file a router."""
