"""The cold routes, a file each."""
