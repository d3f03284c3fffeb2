"""A resilient recorder of PlanetSide 2 populations: stream in, durable queue, sessions, graph out."""

__version__ = "0.1.0"
