"""Step 6: the other local ciphers, byte by byte."""
