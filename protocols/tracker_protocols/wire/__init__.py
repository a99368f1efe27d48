"""What protocols share: cutting frames, reading fields, checksums and the decoder's frame."""
