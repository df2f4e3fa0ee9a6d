"""The Keras model that joins program, source and output map, its steps and its files."""
