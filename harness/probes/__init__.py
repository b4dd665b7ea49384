"""What is measured while a net trains. A probe watches a training step from outside and changes nothing."""
