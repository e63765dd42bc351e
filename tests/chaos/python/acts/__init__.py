"""What the tormented program does, one file for each kind of thing it uses."""
