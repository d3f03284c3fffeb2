"""Which commands there are, and the help about all of them.

Importing this costs nothing: `ps2daemon --help` has to be quick, and even click alone takes three times what Python takes to start.
"""

from __future__ import annotations

COMMANDS = {
    "run": ("ps2daemon.cli.run:run", "Record, until it is told to stop."),
    "serve": ("ps2daemon.cli.serve:serve", "Serve the page and its JSON API."),
    "demo": ("ps2daemon.cli.demo:demo", "Show all of it on this machine, without Census."),
    "simulate": ("ps2daemon.cli.simulate:simulate", "Play Census, or write the recording of a past span."),
    "check-config": ("ps2daemon.cli.check_config:check_config", "Say whether the configuration is right."),
    "status": ("ps2daemon.cli.status:status", "Say what is stored and how far it reaches."),
    "queue": ("ps2daemon.cli.queue:queue", "Look into the queue, fill it, empty it."),
    "store": ("ps2daemon.cli.store:store", "Make the store, look at it, copy it, drop old months."),
    "population": ("ps2daemon.cli.population:population", "Say who was online, as table, file or picture."),
    "overlay": ("ps2daemon.cli.population:overlay", "Say what changed against earlier days or weeks."),
    "trend": ("ps2daemon.cli.trend:trend", "Say whether it rises or falls, week by week."),
    "alerts": ("ps2daemon.cli.alerts:alerts", "List alerts, with the people around each."),
    "coverage": ("ps2daemon.cli.coverage:coverage", "Say what was recorded, and why the rest was not."),
    "effect": ("ps2daemon.cli.effect:effect", "Say whether alerts and locks make people log off."),
    "notes": ("ps2daemon.cli.notes:notes", "Write down what happened, such as a patch."),
    "export": ("ps2daemon.cli.export:export", "Write what is stored as NDJSON or CSV."),
}
"""By name: where the command is, and its help in one line."""

CONFIG_HELP = "The configuration; config.example.toml explains every key."

_HELP = """\
Usage: ps2daemon [OPTIONS] COMMAND [ARGS]...

  Records who is online in PlanetSide 2, and shows it with its gaps.

  `ps2daemon COMMAND --help` tells more about each command. Data goes to
  stdout, everything else to stderr.

Options:
  --config FILE  {config}
                 [env var: PS2DAEMON_CONFIG]
  --version      Show the version and exit.
  -h, --help     Show this message and exit.

Commands:
{commands}

Examples:
  ps2daemon demo
  ps2daemon --config /etc/ps2daemon/config.toml run
  ps2daemon --config config.toml population --world 10 --overlay day
"""


def help_text() -> str:
    """What `ps2daemon --help` prints."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return _HELP.format(config=CONFIG_HELP, commands=commands)
