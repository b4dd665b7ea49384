"""Data: where images come from (`sources`) and how batches are cut from them (`batches`)."""
