"""What Census does wrong, as named options of the simulator that combine.

    definition · telling ─► connections · subscriptions · logins · alerts · frames · rest ─► catalogue ─► plan ─► board

Each fault is one `Fault` in the catalogue and a small function, mostly a pure one; `board` is the one place that applies them.
"""
