"""Networks: stems, blocks, shortcuts, norms and initialisations, and what is computed on whole nets."""
