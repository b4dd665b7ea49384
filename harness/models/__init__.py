"""Networks, put together from a stem, blocks, shortcuts, norms and an initialisation."""
