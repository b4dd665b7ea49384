"""Data: where images come from (`datasets`), and the batches taken from them (`batches`)."""
