"""Inputs that nobody would send on purpose, or somebody would: one module for each side from which they come."""
