"""Elasticsearch of major 8 or 9 as a `Store`, for whoever needs more than one file on one machine.

`server` asks, `schema` says which indices there are, `documents` what is in them, `bulk` and `writing` write, `searching` and `series` find.
"""

from ps2daemon.store.elasticsearch.store import ElasticsearchStore

__all__ = ["ElasticsearchStore"]
