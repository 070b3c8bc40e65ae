"""Private parts of libraries: each is listed, still exists, and belongs to a library with an upper version bound."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from messenger.server.http_protocol import HttpConnection
from tests.architecture import _private_uses as uses

_HTTP = "uvicorn.protocols.http.httptools_impl"
_SOCKETS = "uvicorn.protocols.websockets.websockets_sansio_impl"

# fmt: off
PARTS: dict[str, dict[str, str]] = {
    "httptools": {
        "httptools": "HttpParserError HttpParserUpgrade HttpRequestParser",
        "httptools:HttpRequestParser":
            "feed_data get_http_version get_method set_dangerous_leniencies should_upgrade",
    },
    "litestar": {
        "litestar.connection.request:Request": "_body _connection_state",
        "litestar.handlers:HTTPRouteHandler":
            "fn handler_id http_methods opt parsed_fn_signature resolve_data_dto resolve_request_max_body_size "
            "signature_model status_code",
        "litestar.typing:FieldDefinition": "default is_required kwarg_definition",
        "litestar.utils.scope.state:ScopeState": "form from_scope",
    },
    "nats-py": {
        "nats.aio.client:Client": "_transport",
        "nats.aio.subscription:Subscription": "_stop_processing",
        "nats.aio.transport:TcpTransport": "_io_writer",
    },
    "prometheus-client": {
        "prometheus_client:Histogram": "_buckets _sum",
        "prometheus_client.registry:Collector": "collect",
        "prometheus_client.multiprocess": "mark_process_dead",
        "prometheus_client.values": "MultiProcessValue",
    },
    "redis": {
        "redis.asyncio.connection": "parse_url",
        "redis.asyncio.connection:Connection":
            "_writer connect disconnect is_connected read_response send_command",
    },
    "sqlalchemy": {
        "sqlalchemy.pool:NullPool": "_creator _dialect _orig_logging_name _pre_ping _recycle _reset_on_return",
    },
    "textual": {
        "textual.widgets:Input": "_on_paste",
        "textual.widgets:TextArea": "_on_key",
    },
    "uvicorn": {
        "uvicorn:Config": "http_protocol_class timeout_worker_healthcheck ws_max_size",
        "uvicorn._types": "ASGIReceiveEvent ASGISendEvent",
        _HTTP: "STATUS_LINE",
        f"{_HTTP}:HttpToolsProtocol":
            "_should_upgrade _start_asgi_task connection_lost connection_made connections cycle data_received flow "
            "handle_websocket_upgrade headers loop on_body on_header on_headers_complete on_message_complete "
            "on_response_complete parser pause_writing pipeline resume_writing scope server_state transport url",
        f"{_HTTP}:RequestResponseCycle":
            "body default_headers disconnected keep_alive message_event more_body response_complete "
            "response_started scope send transport waiting_for_100_continue",
        "uvicorn.protocols.http.flow_control:FlowControl":
            "pause_reading read_paused resume_reading write_paused",
        f"{_SOCKETS}:WebSocketsSansIOProtocol":
            "close_sent close_timeout close_timer config conn connection_lost connection_made connections "
            "curr_msg_data_type data_received frames handle_connect handle_cont handle_parser_exception handle_ping "
            "handle_pong handshake_complete handshake_initiated logger loop pause_writing queue read_paused receive "
            "request response resume_writing scope send send_receive_event_to_app shutdown transport writable",
        "uvicorn.server:ServerState": "total_requests",
        "uvicorn.supervisors:Multiprocess":
            "config handle_hup init_processes keep_subprocess_alive processes processes_num run should_exit sockets "
            "terminate_all",
        "uvicorn.supervisors.multiprocess:Process":
            "exitcode is_alive is_ready join kill pid process start terminate",
    },
    "websockets": {
        "websockets.frames": "Frame Opcode apply_mask",
        "websockets.frames:Frame": "serialize",
        "websockets.server:ServerProtocol":
            "close_sent data_to_send handshake_exc parser reader reject send_close send_ping state",
        "websockets.streams:StreamReader": "buffer",
    },
}
# fmt: on
"""By distribution, and by module (`a.b`) or class (`a.b:C`): the names that are used of it and that its documentation
does not promise. For a base class of this project these are all names that the subclasses use or override.
"""

VARIABLES = {
    "httptools:HttpRequestParser": ("self.parser",),
    f"{_HTTP}:RequestResponseCycle": ("cycle", "running", "self.cycle", "self._running"),
    "uvicorn.protocols.http.flow_control:FlowControl": ("self.flow",),
    "uvicorn:Config": ("self.config",),
    "uvicorn.server:ServerState": ("self.server_state",),
    "uvicorn.supervisors.multiprocess:Process": ("worker", "successor", "self._successor"),
    "websockets.server:ServerProtocol": ("self.conn",),
    "websockets.streams:StreamReader": ("self.conn.reader",),
}
"""How `messenger.server` calls the objects of these classes."""

# Libraries whose classes are not made for subclasses of others: public names can change in any release, too.
_INTERNAL = ("prometheus-client", "uvicorn", "websockets")

IMPORTS = {"uvicorn._types.ASGIReceiveEvent", "uvicorn._types.ASGISendEvent"}

_PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
_REQUIREMENTS = [
    *_PROJECT["dependencies"],
    *(each for extra in _PROJECT["optional-dependencies"].values() for each in extra),
]
_SOURCES = {path: path.read_text() for path in sorted(uses.SOURCE.rglob("*.py"))}
_LISTED = {name for parts in PARTS.values() for names in parts.values() for name in names.split()}


def _missing(library: str, owner: str, names: str) -> list[str]:
    prefix = f"{library} {version(library)}"
    try:
        found = uses.members(uses.resolve(owner))
    except (ImportError, AttributeError) as error:
        return [f"{prefix} has no {owner}: {error}"]
    return [f"{prefix}: {owner} has no {name!r}" for name in names.split() if name not in found]


def _listed_classes() -> dict[type, tuple[str, set[str]]]:
    """By class: its distribution, and the names that are listed for it."""
    return {
        found: (library, set(names.split()))
        for library, parts in PARTS.items()
        for owner, names in parts.items()
        if isinstance(found := uses.resolve(owner), type)
    }


def _unlisted(cls: type, listed: dict[type, tuple[str, set[str]]]) -> list[str]:
    """Members of library classes that this class uses or overrides, and that are not listed."""
    found = []
    for base in uses.nearest_library_bases(cls):
        library, names = listed.get(base, (None, set()))
        unlisted = uses.touched(cls, base) - names
        if library not in _INTERNAL:
            unlisted = {name for name in unlisted if uses.is_private(name)}
        found += [f"{cls.__qualname__} uses {base.__module__}.{base.__name__}.{name}" for name in sorted(unlisted)]
    return found


def _bound(requirement: str) -> tuple[str, str] | None:
    """The lower and upper version bound of a requirement; None if one is absent."""
    found = re.fullmatch(r"[\w-]+(?:\[[\w,-]+\])?>=([\d.]+),<([\d.]+)", requirement)
    return (found[1], found[2]) if found else None


class TestExistence:
    @pytest.mark.parametrize("library", PARTS)
    def test_library_has_every_listed_part(self, library: str) -> None:
        missing = [each for owner, names in PARTS[library].items() for each in _missing(library, owner, names)]
        assert missing == []

    def test_removed_method_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        owner = f"{_HTTP}:HttpToolsProtocol"
        monkeypatch.delattr(f"{_HTTP}.HttpToolsProtocol.handle_websocket_upgrade")
        assert _missing("uvicorn", owner, PARTS["uvicorn"][owner]) == [
            f"uvicorn {version('uvicorn')}: {owner} has no 'handle_websocket_upgrade'"
        ]

    def test_removed_instance_attribute_is_reported(self) -> None:
        assert "pipeline" in uses.members(uses.resolve(f"{_HTTP}:HttpToolsProtocol"))
        [missing] = _missing("uvicorn", f"{_HTTP}:HttpToolsProtocol", "pipeline pipelines")
        assert missing.endswith("has no 'pipelines'")

    def test_removed_class_is_reported(self) -> None:
        [missing] = _missing("uvicorn", "uvicorn._types:Gone", "")
        assert missing.startswith(f"uvicorn {version('uvicorn')} has no uvicorn._types:Gone")


class TestNewUses:
    def test_subclasses_use_only_listed_parts(self) -> None:
        listed = _listed_classes()
        assert [each for cls in uses.own_classes() for each in _unlisted(cls, listed)] == []

    def test_unlisted_part_of_base_class_is_found(self) -> None:
        listed = _listed_classes()
        listed[HttpToolsProtocol][1].discard("pipeline")
        assert _unlisted(HttpConnection, listed) == [f"HttpConnection uses {_HTTP}.HttpToolsProtocol.pipeline"]

    def test_private_imports_are_listed(self) -> None:
        assert {name for source in _SOURCES.values() for name in uses.private_imports(source)} == IMPORTS

    def test_private_attributes_are_listed(self) -> None:
        defined = {name for source in _SOURCES.values() for name in uses.defined_names(source)}
        found = [
            f"{path.relative_to(uses.SOURCE)}: {name}"
            for path, source in _SOURCES.items()
            for name in uses.private_attributes(source, defined)
            if name not in _LISTED
        ]
        assert found == []

    @pytest.mark.parametrize(
        ("source", "names"),
        [
            ("import a._b\nfrom c import _d, e\nfrom _f.g import h", ["a._b", "c._d", "_f.g.h"]),
            ("import _thread\nfrom messenger.services import _gate\nfrom c import __version__", []),
        ],
    )
    def test_private_import_of_library_is_found(self, source: str, names: list[str]) -> None:
        assert uses.private_imports(source) == names

    @pytest.mark.parametrize(
        ("source", "names"),
        [
            ("pool._queue.get()\ngetattr(pool, '_loop', None)", ["_loop", "_queue"]),
            ("self._own = other._own\nrow._replace(a=1)\nx.__dict__", []),
        ],
    )
    def test_private_attribute_of_library_is_found(self, source: str, names: list[str]) -> None:
        assert sorted(uses.private_attributes(source, uses.defined_names(source))) == names

    def test_parts_of_library_objects_are_listed(self) -> None:
        server = [source for path, source in _SOURCES.items() if path.parent.name == "server"]
        found = {}
        for owner, expressions in VARIABLES.items():
            cls = uses.resolve(owner)
            listed = {name for parts in PARTS.values() for name in parts.get(owner, "").split()}
            used = {name for source in server for name in uses.attributes_of(source, expressions)}
            found[owner] = (used & uses.members(cls)) - listed
        assert {owner: names for owner, names in found.items() if names} == {}


class TestVersionBounds:
    @pytest.mark.parametrize("library", PARTS)
    def test_library_is_bound_to_checked_minor_version(self, library: str) -> None:
        [requirement] = [each for each in _REQUIREMENTS if re.match(rf"{library}\b", each)]
        major, minor = version(library).split(".")[:2]
        bounds = _bound(requirement)
        assert bounds is not None, f"{requirement} has no upper version bound"
        assert bounds[1] == f"{major}.{int(minor) + 1}"

    def test_missing_upper_bound_is_found(self) -> None:
        assert _bound("uvicorn>=0.54") is None
        assert _bound("sqlalchemy[asyncio]>=2.1.9,<2.2") == ("2.1.9", "2.2")
