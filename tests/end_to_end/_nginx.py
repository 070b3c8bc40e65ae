"""nginx in front of a server, at a path prefix that it removes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from messenger.testing.servers import ServerProcess

_CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream m {{ server 127.0.0.1:{upstream}; }}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port};
        location /chat/ {{
            proxy_pass http://m/;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            {more}
        }}
    }}
}}
"""


class Nginx(ServerProcess):
    """`https://…/chat/` maps to the server's `/`."""

    binary = package = "nginx"
    question, answer = b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 "

    def __init__(self, folder: Path, upstream: int, *more: str) -> None:
        super().__init__()
        self._file = folder / "nginx.conf"
        self._file.write_text(
            _CONFIGURATION.format(folder=folder, port=self.port, upstream=upstream, more="\n".join(more))
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/chat"

    def arguments(self) -> Sequence[str]:
        return ["-c", str(self._file)]
