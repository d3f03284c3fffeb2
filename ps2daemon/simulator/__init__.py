"""A Census that runs on this machine: a seeded population, its event stream, its REST service, and the truth about it.

    settings ─► population · schedule ─► timeline ─┬─► recording   (a past span as a file)
                                                   └─► simulator ─► server   (a websocket and REST)
                                             faults ───────┘

The timeline is one function of the settings: a recording and a live server of the same settings tell the same story, and
`Truth` keeps it for whoever wants to compare.
"""
