"""Asking a source for many images: data checks, the asking itself, and stored answers."""
