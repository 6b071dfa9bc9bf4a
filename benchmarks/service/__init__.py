"""How fast the HTTP service is against PocketBase, with every proof on; see `__main__`."""
