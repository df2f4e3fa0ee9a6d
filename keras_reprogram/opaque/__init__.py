"""Training a program from source queries alone, within a budget."""
