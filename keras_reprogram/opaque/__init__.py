"""Training from queries alone, within a budget."""
