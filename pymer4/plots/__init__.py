"""Pictures: frames and arrays in, matplotlib axes out."""
