"""R, embedded: the one folder that speaks to it, and what it takes to start it, stop it and hand values over."""
