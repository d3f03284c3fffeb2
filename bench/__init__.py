"""Measures the program as its users run it: as processes, against the simulator, on this machine."""
