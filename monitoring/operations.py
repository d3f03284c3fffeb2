"""Is it well? What each stage does, and how much room is left."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from monitoring.panels import PROMETHEUS, WORLD_NAMES, new, prometheus_graph

_RATE = "$__rate_interval"


def dashboard() -> Dashboard:
    """The dashboard."""
    board = new(
        "ps2daemon: operations",
        "ps2daemon-operations",
        "What the recorder does: docs/monitoring.md says what to do when something of it looks wrong.",
        PROMETHEUS,
        "now-6h",
    ).refresh("30s")
    _stages(board)
    _stream(board)
    _queue(board)
    _store(board)
    return board


def _stages(board: Dashboard) -> None:
    board.with_panel(
        prometheus_graph(
            "Stages",
            "1 while a stage does what it is for. 0 while it starts, waits out an outage, or is down.",
            "short",
            ("ps2_stage_up", "{{stage}}"),
        )
        .min(0)
        .max(1)
    )
    board.with_panel(
        prometheus_graph(
            "Since the last progress",
            "Seconds since a stage last got something done. A stage that waits for events may well be idle.",
            "s",
            ("time() - ps2_stage_last_progress_timestamp_seconds", "{{stage}}"),
        )
    )


def _stream(board: Dashboard) -> None:
    board.with_panel(
        prometheus_graph(
            "Connections",
            "1 while a connection to the stream is open, and how often a minute the server confirmed the subscription.",
            "short",
            ("ps2_stream_connected", "{{stream}} connected"),
            (
                f"sum by (stream, result) (rate(ps2_stream_verifications_total[{_RATE}])) * 60",
                "{{stream}} {{result}} a minute",
            ),
        ).min(0)
    )
    board.with_panel(
        prometheus_graph(
            "Events by world",
            "Logins and logouts, and what Ps2WorldSilent expects at this hour.",
            "eps",
            (
                f'sum by (world) (rate(ps2_events_total{{event=~"PlayerLogin|PlayerLogout"}}[{_RATE}])) {WORLD_NAMES}',
                "{{name}}",
            ),
            (f"world:ps2_events:expected_rate {WORLD_NAMES}", "{{name}}, expected"),
        )
    )


def _queue(board: Dashboard) -> None:
    board.with_panel(
        prometheus_graph(
            "Queue",
            "Bytes that are received and not yet in the store, and the bound at which receiving stops.",
            "bytes",
            ("max by (instance) (ps2_queue_bytes)", "waiting"),
            ("max by (instance) (ps2_queue_max_bytes)", "bound"),
        )
    )
    board.with_panel(
        prometheus_graph(
            "How far behind",
            "The age of the oldest record that waits; and from receipt until it is in the store, for half and for 99 of 100 batches.",
            "s",
            ("max by (instance) (ps2_queue_oldest_age_seconds)", "oldest that waits"),
            *[
                (
                    f"histogram_quantile({q}, sum by (le) (rate(ps2_delay_seconds_bucket[{_RATE}])))",
                    f"delay, {q}",
                )
                for q in ("0.5", "0.99")
            ],
        )
    )


def _store(board: Dashboard) -> None:
    board.with_panel(
        prometheus_graph(
            "Writer",
            "Records that were put into the store.",
            "eps",
            (f"sum by (instance) (rate(ps2_writer_records_total[{_RATE}]))", "records"),
        )
    )
    board.with_panel(
        prometheus_graph(
            "Time of a commit, and of an fsync",
            "99 of 100 take at most so long: a batch into the store, a frame onto the disk.",
            "s",
            *[
                (f"histogram_quantile(0.99, sum by (le) (rate({name}_bucket[{_RATE}])))", legend)
                for name, legend in (
                    ("ps2_writer_commit_seconds", "commit"),
                    ("ps2_queue_append_seconds", "append"),
                )
            ],
        )
    )
    board.with_panel(
        prometheus_graph(
            "Census",
            "Requests by result, characters that have no name yet, and whether those whose session is open are still online. While Census is out, people count as of unknown empire.",
            "short",
            (f"sum by (result) (rate(ps2_census_requests_total[{_RATE}])) * 60", "{{result}} a minute"),
            ("ps2_characters_unnamed", "characters without a name"),
            ("ps2_characters_waiting", "characters waiting"),
            (
                f"sum by (answer) (rate(ps2_reconciler_checked_sessions_total[{_RATE}])) * 60",
                "checked a minute: {{answer}}",
            ),
            ("ps2_census_up", "up"),
        )
    )
    board.with_panel(
        prometheus_graph(
            "Dead letters",
            "Records within the hour before that could not be applied, and those that could not even be kept.",
            "short",
            ("increase(ps2_dead_letters_total[1h])", "kept"),
            ("increase(ps2_dead_letters_lost_total[1h])", "lost"),
        )
    )
    board.with_panel(
        prometheus_graph(
            "Disk: free",
            "Of the disks under the queue and the SQLite store.",
            "bytes",
            ("ps2_disk_free_bytes", "{{of}}, free"),
            ("ps2_disk_total_bytes", "{{of}}, size"),
        )
    )
    board.with_panel(
        prometheus_graph(
            "Memory",
            "Of the process, as the system counts it.",
            "bytes",
            ('process_resident_memory_bytes{job="ps2daemon"}', "{{instance}}"),
        )
    )
