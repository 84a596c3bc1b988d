"""The composition roots: one for each kind of process, the embedded engines, and the command `cogreeld`."""
