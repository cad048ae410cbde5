"""The store, the ratchet and what is rendered from them."""
